"""What a question passes from the command to the result: few rooms, each entered once or twice."""

from pathlib import Path

import pytest

from _clips import make_clip
from _walk import Walk, walk_of_a_query

MOST_ROOMS, MOST_ENTRIES = 7, 2


def check(walk: Walk) -> None:
    assert len(walk.entries) <= MOST_ROOMS, walk
    assert max(walk.entries.values()) <= MOST_ENTRIES, walk


@pytest.mark.parametrize("query", ["a new file", "a clip", "words", "moments"])
def test_a_query_passes_few_rooms(made: Path, tmp_path: Path, query: str) -> None:
    new = str(make_clip(tmp_path / "new.wav", tone=999))
    arguments = {
        "a new file": [new],
        "a clip": [str(made / "red/b.mp4"), "--by", "visual"],
        "words": ["--text", "a red wall"],
        "moments": [new, "--moments"],
    }[query]
    walk = walk_of_a_query(["search", *arguments, "--library", str(made)])
    check(walk)
    assert "cli/search.py:_print_ranked" in walk.calls
    assert "library/search/embed_query.py:embed_query" in walk.calls


def test_a_walk_with_a_detour_is_refused() -> None:
    walk = Walk()
    walk.entries.update({"library/catalog": MOST_ENTRIES + 1})
    with pytest.raises(AssertionError):
        check(walk)
