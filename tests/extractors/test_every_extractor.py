"""What every extractor promises, over all that are discovered."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import earsight
from _clips import make_clip
from _i3d import seeded_i3d
from _seeded import seeded_vggish
from earsight import discovery, weights
from earsight.errors import InputError, MediaError
from earsight.extractors import _base
from earsight.extractors._base import FeatureExtractor, extract_all
from earsight.media import AudioBlock, Decoder, FrameBlock

# They need models, which test_foundation.py makes; it holds them to the same promises.
FOUNDATION = {"clip", "clap", "pe_av"}
SMALLER = {"i3d": {"window": "16"}}  # steps short enough for these clips
EVERY = [
    (name, {"modality": modality} if name == "words" else SMALLER.get(name, {}))
    for name in discovery.names("extractors")
    if name not in FOUNDATION
    for modality in (("audio", "visual", "text") if name == "words" else ("",))
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a seeded network stays, once converted."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(params=EVERY, ids=lambda kind: ".".join([kind[0], *kind[1].values()]))
def extractor(
    request: pytest.FixtureRequest, tmp_path: Path, kept: Path
) -> Iterator[FeatureExtractor]:
    name, parameters = request.param
    seeded = {"vggish": lambda: seeded_vggish(tmp_path), "i3d": lambda: seeded_i3d(kept)}
    with seeded.get(name, nullcontext)():
        yield earsight.extractor(name, **parameters)


def write_clip(folder: Path, modality: str, seconds: float) -> Path:
    """A clip of one modality alone: a rising tone, a square that moves, or a sentence."""
    if modality == "audio":
        return make_clip(
            folder / f"tone {seconds}.wav",
            seconds,
            rate=44_100,
            sound=lambda t: 0.5 * np.sin(300 * math.tau * t * (1 + t)),
        )
    if modality == "visual":
        return make_clip(
            folder / f"square {seconds}.mp4",
            seconds,
            audio=False,
            fps=10,
            size=(320, 240),
            draw=square,
        )
    path = folder / f"sentence {seconds}.txt"
    path.write_text("A dog barks at the fireworks.", encoding="utf-8")
    return path


def square(t: float) -> np.ndarray:
    picture = np.full((240, 320, 3), 30, dtype=np.uint8)
    left = int(70 * t) % 240
    picture[80:160, left : left + 80] = (220, 180, 40)
    return picture


def test_shapes_times_and_types_are_as_declared(
    extractor: FeatureExtractor, tmp_path: Path
) -> None:
    found, report = extract_all(write_clip(tmp_path, extractor.modality, 3.0), [extractor])
    assert set(found) == {extractor.key(head) for head in extractor.heads}
    for head in extractor.heads:
        sequence = found[extractor.key(head)]
        assert sequence.dim == extractor.dims[head]
        assert sequence.values.dtype == np.float32
        assert sequence.times.dtype == np.float64
        assert np.isfinite(sequence.values).all()
        assert (np.diff(sequence.times) > 0).all()
        assert sequence.times[0] >= 0 and sequence.times[-1] <= report.duration
        if extractor.modality != "text":
            assert len(sequence) >= 3
    assert extractor.dim == extractor.dims[extractor.heads[0]]


def test_the_shortest_clip_still_has_a_step(extractor: FeatureExtractor, tmp_path: Path) -> None:
    sequence = extractor.extract(write_clip(tmp_path, extractor.modality, 0.2))
    assert len(sequence) >= 1
    assert 0 <= sequence.times[0] <= sequence.times[-1] <= 0.2
    assert sequence.mean().any()


def test_nothing_to_perceive_gives_finite_features_or_an_error(
    extractor: FeatureExtractor, tmp_path: Path
) -> None:
    clip = (
        tmp_path
        / {"audio": "silence.wav", "visual": "flat.png", "text": "blank.txt"}[extractor.modality]
    )
    match extractor.modality:
        case "audio":
            make_clip(clip, 2.0, sound=np.zeros_like)
        case "visual":
            Image.new("RGB", (50, 400), (12, 200, 99)).save(clip)
        case "text":
            clip.write_text("\n")
            with pytest.raises(InputError, match="A text must say something"):
                extractor.extract(clip)
            return
    sequence = extractor.extract(clip)
    assert np.isfinite(sequence.values).all() and np.isfinite(sequence.mean()).all()
    assert sequence.times[0] == 0 or extractor.modality == "audio"


def test_features_depend_neither_on_blocks_nor_on_the_run(
    extractor: FeatureExtractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path, extractor.modality, 3.0)
    first, _ = extract_all(clip, [extractor])
    again, _ = extract_all(clip, [extractor])
    monkeypatch.setattr(_base, "Decoder", Splintered)
    cut, _ = extract_all(clip, [extractor])
    for key, sequence in first.items():
        for other in (again, cut):
            assert np.array_equal(sequence.values, other[key].values)
            assert np.allclose(sequence.times, other[key].times, atol=1e-9)


class Splintered(Decoder):
    """The same decoder, whose blocks arrive in pieces of 1 frame or 1 to 1,000 samples."""

    def __iter__(self):
        rng = np.random.default_rng(0)
        for block in super().__iter__():
            at = 0
            if isinstance(block, AudioBlock):
                while at < len(block.samples):
                    part = block.samples[at : at + int(rng.integers(1, 1000))]
                    yield AudioBlock(block.rate, block.start + at / block.rate, part)
                    at += len(part)
            else:
                for i in range(len(block.times)):
                    part = slice(i, i + 1)
                    yield FrameBlock(block.request, block.times[part], block.frames[part])


def test_a_clip_without_the_modality_says_so(extractor: FeatureExtractor, tmp_path: Path) -> None:
    other = "visual" if extractor.modality == "audio" else "audio"
    clip = write_clip(tmp_path, other, 0.5)
    found, report = extract_all(clip, [extractor])
    assert found == {}
    assert report.status.value == ("no_audio" if other == "visual" else "no_video")
    with pytest.raises(MediaError, match=rf"{clip.name} has no \w+ for {extractor.name} to read"):
        extractor.extract(clip)


def test_fingerprints_follow_hyper_parameters(extractor: FeatureExtractor) -> None:
    same = type(extractor)(**extractor._fields())
    assert extractor.fingerprint == same.fingerprint
    assert len(extractor.fingerprint) == 64 and int(extractor.fingerprint, 16) >= 0
    if "fps" in extractor._fields():
        assert type(extractor)(fps=1.5).fingerprint != extractor.fingerprint


def test_fingerprints_follow_weights_and_code(
    extractor: FeatureExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = extractor.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(type(extractor), "version", extractor.version + 1)
        assert extractor.fingerprint != before
    assert extractor.fingerprint == before
    if extractor.pretrained:
        monkeypatch.setattr(weights, "checksum", lambda name: "0" * 64)
        assert extractor.fingerprint != before


def test_a_space_is_named_only_where_it_is_shared(extractor: FeatureExtractor) -> None:
    shares = extractor.name in ("words", "minilm")
    assert (
        (extractor.space == earsight.extractor("minilm").space)
        if shares
        else (extractor.space is None)
    )
