"""Reading ahead: the same items, the same errors, no more in memory, and no thread left behind."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import earsight
from _clips import make_clip
from earsight.extractors import extract_all
from earsight.prefetch import ahead


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "earsight-reader"]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100])
def test_items_come_in_their_order(n: int) -> None:
    assert list(ahead(range(n), depth=2)) == list(range(n))
    assert not readers()


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise OSError("the file broke")

    seen = []
    with pytest.raises(OSError, match="the file broke"):
        seen.extend(item for item in ahead(broken()) if seen.append(item) or False)
    assert seen == [0, 1, 2]
    assert not readers()


def test_no_more_is_drawn_than_may_wait() -> None:
    drawn: list[int] = []
    items = ahead((drawn.append(k) or k for k in range(100)), depth=3)
    for k in range(20):
        assert next(items) == k
        time.sleep(0.002)
        # One is in use, three wait, and one is in the reader's hand.
        assert len(drawn) <= k + 1 + 3 + 1
    items.close()
    assert not readers() and len(drawn) < 30


def test_it_is_drawn_while_the_consumer_works() -> None:
    """The first item is held until the second was drawn, which a plain loop would never do."""
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    for item in ahead(items()):
        assert item == 2 or second.wait(10)


def test_features_are_the_same_with_one_thread_and_with_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 6.0)
    kinds = [earsight.extractor("log_mel"), earsight.extractor("colour_edges", fps=5.0)]
    several, report = extract_all(clip, kinds)
    monkeypatch.setenv("EARSIGHT_THREADS", "1")
    one, same = extract_all(clip, kinds)
    assert report == same and several.keys() == one.keys()
    for key, sequence in one.items():
        assert np.array_equal(sequence.values, several[key].values)
        assert np.array_equal(sequence.times, several[key].times)
