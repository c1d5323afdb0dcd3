"""Libraries whose extractors share a space of their own, or leave a modality out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from _clips import make_clip
from _twin import COLOURS, NAMES, TONES, Mute, Twin, registered
from earsight.errors import InputError, LibraryError, MediaError
from earsight.extractors import extract_all
from earsight.library.catalog.location import FOLDER
from earsight.library.client import Library
from earsight.library.embedding.extraction import Sources, zero_shot_role
from earsight.library.embedding.model_selection import choose_model
from earsight.library.embedding.settings import trust_library
from earsight.library.embedding.training_rows import PairedRows, paired_features
from earsight.library.indexing.pipeline import index
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.search.searcher import search

TWINS = {"audio": "twin", "visual": "twin"}


@pytest.fixture(autouse=True)
def twins() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of three colours, each with its tone; one of each colour is described."""
    folder = tmp_path_factory.mktemp("twins") / "clips"
    folder.mkdir()
    for name, tone, colour in zip(NAMES, TONES, COLOURS, strict=True):
        make_clip(folder / f"{name} 1.mp4", tone=tone, colour=colour)
        make_clip(folder / f"{name} 2.mp4", tone=1.1 * tone, colour=colour)
        (folder / f"{name} 1.txt").write_text(f"All {name}.")
    make_clip(folder / "sound.wav", tone=TONES[2])
    with registered():
        index(folder, **TWINS)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(made, tmp_path / "clips"))
    assert {one.kind for one in trust_library(copy)} == {"plugin"}
    return copy


def stems(folder: Path, *query: object, **how: object) -> list[str]:
    found = search(folder, *query, **{"top": 99} | how)  # type: ignore[arg-type]
    return [Path(one.path).stem for one in found.results]


# The shared space is the bridge


def test_the_space_that_both_share_answers_at_once(made: Path) -> None:
    report = index(made)
    assert not report.rebuilt and report.embedding is not None
    assert report.embedding.info["space"] == "twin" and report.takes_words
    for name in NAMES:
        for by, for_ in (("audio", "visual"), ("visual", "audio")):
            found = stems(made, made / f"{name} 1.mp4", by=by, for_=for_)
            assert all(one.startswith(name) for one in found[:2])
        assert all(one.startswith(name) for one in stems(made, text=f"a {name} wall", top=2))
        assert stems(made, text=name, for_="text")[0] == f"{name} 1"
    assert search(made, text="red").space == "twin"


def test_nothing_of_the_words_bridge_is_made(made: Path) -> None:
    tables = {path.name.rpartition("-")[0] for path in (made / FOLDER / "vectors").iterdir()}
    assert tables == {"audio", "visual", "text", "sequences", "embedding"}
    assert Sources("twin", "twin").roles == ("audio", "visual", "text")


def test_scores_are_cosines_about_shrunken_means(made: Path) -> None:
    """By hand: each modality is centred by n·mean / (n + 10), the prior being 0."""
    sources = Sources("twin", "twin")
    vectors: dict[str, dict[str, Any]] = {"audio": {}, "visual": {}}
    for path in sorted(made.glob("*.[mw]*")):
        found, _ = extract_all(path, [sources.extractors()[m] for m in ("audio", "visual")])
        for key, sequence in found.items():
            vectors[key.partition(".")[2]][path.stem] = sequence.mean().astype(np.float64)

    def unit(modality: str, x: Any) -> Any:
        rows = np.array(list(vectors[modality].values()))
        z = x - rows.sum(axis=0) / (len(rows) + 10)
        return z / np.linalg.norm(z)

    query = unit("audio", vectors["audio"]["sound"])
    for one in search(made, "sound.wav", for_="visual", top=99).results:
        expected = query @ unit("visual", vectors["visual"][Path(one.path).stem])
        assert one.score == pytest.approx(expected, abs=1e-5)


def test_a_space_without_text_takes_no_words(folder: Path) -> None:
    report = index(folder, audio="mute", visual="mute")
    assert not report.takes_words and report.embedding is not None
    assert report.embedding.info["space"] == "mute"
    assert report.trouble == [] and not index(folder).rebuilt
    with pytest.raises(InputError, match="mute has no text, so this library takes no words"):
        search(folder, text="red")
    with pytest.raises(MediaError, match=r"red 1\.txt: mute has no text"):
        search(folder, folder / "red 1.mp4", by="text")
    assert stems(folder, "sound.wav", top=2) == ["blue 1", "blue 2"]
    with Library(folder) as library:
        library.warm()  # needs no words


def test_spaces_that_differ_meet_in_words() -> None:
    assert Sources("twin", "twin:cone=0.2").zero_shot == "words"
    assert Sources("twin", "mute").zero_shot == "words"
    assert Sources("twin", "efficientnet").zero_shot == Sources().zero_shot == "words"
    assert Sources("twin:cone=0.2", "twin:cone=0.2").text == Twin(modality="text", cone=0.2)
    with pytest.raises(InputError, match="`modality` of mute must be 'audio', or 'visual'"):
        Sources("mute", "mute:modality=text").extractors()
    with pytest.raises(InputError, match="--visual takes an extractor of visual features"):
        Sources("twin", "twin:modality=text").extractors()
    with pytest.raises(InputError, match="`words` is the zero-shot space"):
        Sources("words", "words").extractors()


def test_who_names_things_is_asked_only_where_words_are_the_bridge() -> None:
    with pytest.raises(InputError, match=r"twin and twin share a space of their own.*Leave --ears"):
        Sources("twin", "twin", eyes="i3d_kinetics").extractors()


def test_vectors_of_two_versions_are_never_mixed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Twin, "version", 2)
    with pytest.raises(LibraryError, match="other weights or another version"):
        search(folder, text="red")
    report = index(folder)
    assert report.changes.again == 7 and report.rebuilt
    assert stems(folder, text="red", top=2) == ["red 1", "red 2"]


# What is learned stands beside it


def test_a_learner_joins_the_shared_space() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 4
    seen = np.hstack([8 * np.eye(4)[y], np.zeros((80, 8))])
    vectors = {m: (seen + rng.normal(size=seen.shape)).astype(np.float32) for m in TWINS}
    vectors["visual"] = vectors["visual"][:, ::-1].copy()  # the bridge alone is of little use
    rows = PairedRows(np.arange(80).astype(str), y.astype(str), vectors)
    sources = _Wide("twin", "twin")
    decision, learned = choose_model(rows, "cluster_cca", sources)
    assert decision.answers == "twin + cluster_cca" and learned is not None
    assert decision.figures["map_joined"] > decision.figures["map_words"]


class _Wide(Sources):
    """Twins of twelve dimensions."""

    def priors(self) -> dict[str, Any]:
        return {modality: np.zeros(12) for modality in ("audio", "visual", "text")}


def test_evaluation_and_pairs_of_a_shared_space(made: Path) -> None:
    result = evaluate_library(made)
    assert "ranked in the zero-shot space 'twin'" in result.note and result.spaces == ["twin"]
    assert result.directions["audio->visual"]["recall@5"] == 1.0
    data, _ = paired_features(made)
    assert {m: x.shape for m, x in data.views.items()} == {"audio": (6, 4), "visual": (6, 4)}


# A modality may be left out


def test_a_library_of_pictures(folder: Path) -> None:
    report = index(folder, audio="none")
    assert report.trouble == []  # a sound is no trouble where sounds are not asked for
    assert report.embedding is not None and report.embedding.info["space"] == "twin"
    assert stems(folder, text="green", top=2) == ["green 1", "green 2"]
    assert "sound" not in stems(folder, text="green")
    by_sight = search(folder, folder / "blue 1.mp4", top=2)
    assert (by_sight.by, by_sight.for_) == ("visual", "visual")
    assert [Path(one.path).stem for one in by_sight.results] == ["blue 1", "blue 2"]
    with pytest.raises(InputError, match="indexed with --audio none; it can rank by visual"):
        search(folder, text="green", for_="audio")
    with pytest.raises(InputError, match="has no sound to search by"):
        search(folder, folder / "blue 1.mp4", by="audio")
    with pytest.raises(LibraryError, match="at least 2 clips with both sound and sight"):
        evaluate_library(folder)
    with pytest.raises(InputError, match="cannot both be none"):
        index(folder, visual="none")
    assert not index(folder).rebuilt


def test_a_library_of_sounds_by_words(folder: Path) -> None:
    report = index(folder, audio="log_mel", visual="none")
    assert report.embedding is not None and report.embedding.info["space"] == "words"
    assert len(stems(folder, text="a beep")) == 7  # sounds, as there are no sights
    assert Sources("log_mel", "none").roles == ("words.audio", "words.text", "audio")


def test_roles_of_a_bridge() -> None:
    assert [zero_shot_role(b, "text") for b in ("words", "twin")] == ["words.text", "text"]
    assert Mute(modality="visual").space != Twin(modality="visual").space
