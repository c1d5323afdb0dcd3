"""Libraries of models that share a space by themselves, on tiny random ones of `transformers`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import _tiny_models
import earsight
from _clips import make_clip
from _twin import register
from earsight.errors import InputError
from earsight.extractors import extract_text
from earsight.extractors.runtime import hub
from earsight.library.embedding.extraction import Sources
from earsight.library.indexing.pipeline import index
from earsight.library.search.searcher import search


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        hub.package()
        _tiny_models.small_tower(patch)
        for name in ("clip", "clap", "pe_av"):
            (folder / name).mkdir()
            getattr(_tiny_models, name)(folder / name)
        yield folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        colour = (200 - 80 * number, 80 * number, 90)
        make_clip(folder / f"{name}.mp4", tone=300 * 3**number, colour=colour, size=(64, 48))
    (folder / "a.txt").write_text("a dog barks")
    return folder


def test_pe_av_answers_at_once(clips: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)  # read here, where the small tower stands
    spec = f"pe_av:model={models / 'pe_av'}"
    report = index(clips, audio=spec, visual=spec)
    assert report.trouble == [] and report.embedding is not None
    assert report.embedding.info["space"] == "pe_av" and report.takes_words
    found = search(clips, clips / "a.mp4", by="audio", for_="visual")
    assert len(found.results) == 3 and found.space == "pe_av"
    assert len(search(clips, text="a cat sleeps").results) == 3
    own = search(clips, text="a dog barks", for_="text").results
    # One text alone: its centre is x/11, so it is its own direction.
    assert [Path(one.path).name for one in own] == ["a.mp4"]
    assert own[0].score == pytest.approx(1, abs=1e-5)


def test_clip_ranks_pictures_by_words(
    clips: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    spec = f"clip:model={models / 'clip'}"
    report = index(clips, audio="none", visual=spec)
    assert report.trouble == [] and report.embedding is not None
    assert report.embedding.info["space"] == "clip"
    found = search(clips, text="a dog", top=3).results
    reader = Sources("none", spec).text
    assert reader == earsight.extractor("clip", modality="text", model=str(models / "clip"))
    assert reader is not None
    seen = {p.stem: earsight.extractor("clip", model=str(models / "clip")).extract(p).mean()
            for p in clips.glob("*.mp4")}  # fmt: skip
    x = np.array([seen[name] for name in "abc"], dtype=np.float64)
    z = x - x.sum(axis=0) / 13
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    query = extract_text("a dog", reader).mean().astype(np.float64)
    expected = dict(zip("abc", z @ query / np.linalg.norm(query), strict=True))
    for one in found:
        assert one.score == pytest.approx(expected[Path(one.path).stem], abs=1e-5)


def test_models_of_two_spaces_meet_in_words(models: Path) -> None:
    clap, clip = (f"{name}:model={models / name}" for name in ("clap", "clip"))
    both = Sources(clap, clip)
    assert both.zero_shot == "words" and {"words.audio", "audio"} <= set(both.roles)
    assert Sources(clap, "none").zero_shot == "clap" and Sources("none", clip).zero_shot == "clip"
    with pytest.raises(InputError, match="visual"):
        Sources("none", clap).extractors()
