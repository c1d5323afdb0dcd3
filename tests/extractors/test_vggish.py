"""VGGish: its front end, network, PCA and the way of its weights; real ones in one online test."""

import math
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import earsight
from _clips import make_clip
from _seeded import CONVOLUTIONS, seeded_vggish, vggish_entry, vggish_state
from _weights import Site, serving
from earsight import weights
from earsight.errors import InputError, WeightsError
from earsight.extractors import vggish
from earsight.extractors.networks import vggish as network
from earsight.extractors.runtime import onnx
from earsight.media import AudioBlock, Decoder
from earsight.weights.catalogue import CATALOGUE

PCA = Path(__file__).parents[3] / "shared" / "data" / "vggish"
pca_needed = pytest.mark.skipif(
    not (PCA / "vggish_pca_params.npz").is_file(), reason="AudioSet's PCA of shared/data is absent"
)


@pytest.fixture
def seeded(tmp_path: Path) -> Iterator[Path]:
    with seeded_vggish(tmp_path) as folder:
        yield folder


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n).astype(np.float32)


# ---------------------------------------------------------------- the front end


def official_examples(samples: np.ndarray, hop_seconds: float) -> np.ndarray:
    """The published front end, step by step in float64: all frames first, examples from them."""
    mel = lambda f: 1127 * np.log(1 + np.asarray(f) / 700)  # noqa: E731
    n = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    edges = np.linspace(mel(125), mel(7500), 66)
    bins = mel(np.linspace(0, 8000, 257))
    matrix = np.zeros((257, 64))
    for band in range(64):
        low, centre, high = edges[band : band + 3]
        for k in range(1, 257):  # none of them hears the mean of the signal
            up, down = (bins[k] - low) / (centre - low), (high - bins[k]) / (high - centre)
            matrix[k, band] = max(0.0, min(up, down))
    rows = []
    for start in range(0, len(samples) - 400 + 1, 160):
        frame = np.concatenate([samples[start : start + 400].astype(float) * hann, np.zeros(112)])
        rows.append(np.log(np.abs(np.fft.rfft(frame)) @ matrix + 0.01))
    every = round(hop_seconds * 100)
    return np.array([rows[i : i + 96] for i in range(0, len(rows) - 96 + 1, every)])


def hear(samples: np.ndarray, monkeypatch: pytest.MonkeyPatch, start: float = 0.0, **how: object):
    """Run VGGish's session with a network that returns its own examples."""
    monkeypatch.setattr(vggish, "_network", lambda x: {"embedding": x.reshape(len(x), 6144)})
    session = earsight.extractor("vggish", **how)._session()
    for at in range(0, len(samples), 7000):
        session.feed(AudioBlock(16_000, start + at / 16_000, samples[at : at + 7000]))
    return session.close()["embedding"]


@pytest.mark.parametrize("hop", [0.96, 1.0])
@pytest.mark.parametrize("n", [15_600, 30_959, 30_960, 31_600, 48_000, 160_000])
def test_examples_are_the_official_ones(
    n: int, hop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = hear(noise(n), monkeypatch, hop=hop)
    expected = official_examples(noise(n), hop)
    assert len(sequence) == len(expected) >= 1
    np.testing.assert_allclose(sequence.values.reshape(-1, 96, 64), expected, atol=2e-5)
    assert sequence.times == pytest.approx(0.48 + hop * np.arange(len(expected)))
    assert sequence.span == 0.96


def test_three_seconds_of_a_tone_are_three_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16_000).astype(np.float32)
    examples = hear(tone, monkeypatch).values.reshape(-1, 96, 64)
    assert examples.shape == (3, 96, 64)
    loudest = examples.mean(axis=(0, 1)).argmax()
    mels = 1127 * np.log(1 + np.array([125, 1000, 7500]) / 700)
    assert loudest == round(65 * (mels[1] - mels[0]) / (mels[2] - mels[0])) - 1


@pytest.mark.parametrize("n", [1, 399, 1_600, 15_599])
def test_a_sound_shorter_than_an_example_is_one_padded_with_silence(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = hear(noise(n), monkeypatch, start=2.0)
    padded = np.zeros(15_600)
    padded[:n] = noise(n)
    np.testing.assert_allclose(
        sequence.values.reshape(-1, 96, 64), official_examples(padded, 0.96), atol=2e-5
    )
    assert sequence.times == pytest.approx([2.0 + min(0.48, n / 32_000)])


def test_silence_is_the_logarithm_of_a_hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    values = hear(np.zeros(16_000, dtype=np.float32), monkeypatch).values
    assert np.allclose(values, math.log(0.01))


# ---------------------------------------------------------------- the network


def test_the_real_shape_and_keys(tmp_path: Path) -> None:
    """With the real widths; 72 million numbers, 288 MB."""
    widths, dense = (64, 128, 256, 256, 512, 512), (4096, 4096, 128)
    shapes = {}
    n_in = 1
    for i, n_out in zip((0, 3, 6, 8, 11, 13), widths, strict=True):
        shapes |= {f"features.{i}.weight": (n_out, n_in, 3, 3), f"features.{i}.bias": (n_out,)}
        n_in = n_out
    n_in = 512 * 6 * 4
    for i, n_out in zip((0, 2, 4), dense, strict=True):
        shapes |= {f"embeddings.{i}.weight": (n_out, n_in), f"embeddings.{i}.bias": (n_out,)}
        n_in = n_out
    assert sum(math.prod(shape) for shape in shapes.values()) == 72_141_184
    arrays = {key: np.zeros(shape, dtype=np.float32) for key, shape in shapes.items()}
    network.write(arrays, tmp_path / "model.onnx")
    examples = np.zeros((5, 1, 96, 64), dtype=np.float32)
    embedding = onnx.session(tmp_path / "model.onnx").run(None, {"examples": examples})[0]
    assert embedding.shape == (5, 128)
    with pytest.raises(ValueError, match=r"more layers, such as embeddings\.6"):
        network.write(arrays | {"embeddings.6.weight": arrays["embeddings.4.bias"]}, tmp_path)


def plain(state: dict[str, torch.Tensor], examples: np.ndarray) -> np.ndarray:
    """The definition, with torch's functions: convolutions, pools, and TensorFlow's flattening."""
    from torch.nn.functional import conv2d, max_pool2d, relu

    x = torch.from_numpy(examples)[:, None]
    for i in CONVOLUTIONS:
        x = relu(conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))
        if i in (0, 3, 8, 13):
            x = max_pool2d(x, 2)
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)  # height, width, channels
    for i in (0, 2, 4):
        x = x @ state[f"embeddings.{i}.weight"].T + state[f"embeddings.{i}.bias"]
        x = relu(x) if i < 4 else x
    return x.numpy()


def test_the_converted_network_equals_torch(seeded: Path) -> None:
    examples = official_examples(noise(19 * 16_000), 0.96).astype(np.float32)
    expected = plain(vggish_state(), examples)
    assert len(examples) == 19 and expected.min() < -0.1
    found = vggish._network(examples[:, None])["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    relu = vggish.VGGish(activation="relu").finish(found)
    np.testing.assert_allclose(relu, np.maximum(expected, 0), atol=1e-4)


def test_a_clip_goes_the_whole_way(seeded: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "tone.wav", 12.0, sound=lambda t: 0.5 * np.sin(900 * t * (1 + t)))
    samples = np.concatenate([block.samples for block in Decoder(clip, audio=[16_000])])
    expected = plain(vggish_state(), official_examples(samples, 1.0).astype(np.float32))
    found = earsight.extractor("vggish", hop=1.0).extract(clip)
    assert found.times == pytest.approx(0.48 + np.arange(12))
    # Nearly silent bands, where the logarithm is steep, differ in the float32 of the front end.
    np.testing.assert_allclose(found.values, expected, atol=5e-3)
    assert np.corrcoef(found.values.ravel(), expected.ravel())[0, 1] > 0.99999


def test_rates_and_channels_change_little(seeded: Path, tmp_path: Path) -> None:
    """The same tones below 4 kHz from 8 kHz mono, 44.1 kHz stereo and 96 kHz 5.1."""

    def tones(t: np.ndarray) -> np.ndarray:
        return 0.2 * (np.sin(440 * math.tau * t) + np.sin(1500 * math.tau * t * (1 + t / 9)))

    means = []
    for rate, layout in ((8_000, "mono"), (44_100, "stereo"), (96_000, "5.1")):
        clip = make_clip(tmp_path / f"{rate}.wav", 6.0, rate=rate, layout=layout, sound=tones)
        means.append(earsight.extractor("vggish").extract(clip).mean())
    for other in (means[0], means[2]):
        assert np.linalg.norm(other - means[1]) < 0.15 * np.linalg.norm(means[1])


# ---------------------------------------------------------------- PCA and quantiser


@pca_needed
def test_the_real_pca_gives_the_published_form(
    seeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (seeded / "given" / "vggish_pca_params.npz").symlink_to(PCA / "vggish_pca_params.npz")
    clip = make_clip(tmp_path / "tone.wav", 4.0)
    embedding = earsight.extractor("vggish").extract(clip).values
    eight_bits = earsight.extractor("vggish", postprocess=True).extract(clip).values
    with np.load(PCA / "vggish_pca_params.npz") as file:
        V, mean = file["pca_eigen_vectors"], file["pca_means"].ravel()
    for e, q in zip(embedding, eight_bits, strict=True):
        for component, number in zip(V, q, strict=True):
            y = min(2.0, max(-2.0, float(component @ (e - mean))))
            assert number == int((y + 2) * 255 / 4)
    assert set(np.unique(eight_bits)) <= set(range(256)) and len(np.unique(eight_bits)) > 20
    assert earsight.extractor("vggish", postprocess=True).key() == "vggish.pca"


def test_a_pca_that_is_another_file_is_refused(seeded: Path) -> None:
    (seeded / "given" / "vggish_pca_params.npz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match=r"vggish_pca_params.npz has the wrong checksum"):
        vggish._pca()


# ---------------------------------------------------------------- hyper-parameters


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            {"hop": 0.5},
            r"`hop` of vggish must be 0.96 \(AudioSet\) or 1.0 \(YouTube-8M\) s; got 0.5",
        ),
        ({"hop": math.nan}, "got nan"),
        (
            {"activation": "tanh"},
            "`activation` of vggish must be 'official', or 'relu'; got 'tanh'",
        ),
        ({"postprocess": True, "activation": "relu"}, "needs activation='official'.*got 'relu'"),
    ],
)
def test_bad_hyper_parameters_are_named(how: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        earsight.extractor("vggish", **how)


def test_features_that_must_not_be_mixed_have_keys_of_their_own() -> None:
    kinds = [{}, {"activation": "relu"}, {"postprocess": True}, {"hop": 1.0}]
    assert [earsight.extractor("vggish", **how).key() for how in kinds] == [
        "vggish", "vggish.relu", "vggish.pca", "vggish",
    ]  # fmt: skip
    assert earsight.extractor("vggish", hop="1.0").hop == 1.0


# ---------------------------------------------------------------- the way of the weights


def published(site: Site, tmp_path: Path, blob: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the catalogue point at a file of this machine's server, with an empty cache."""
    entry = vggish_entry(blob, site.put("/vggish.pth", blob))
    monkeypatch.setitem(CATALOGUE, "vggish", entry)
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EARSIGHT_WEIGHTS", raising=False)


def saved(content: object, path: Path) -> bytes:
    torch.save(content, path)
    return path.read_bytes()


def test_weights_are_downloaded_checked_and_converted_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(site, tmp_path, saved(vggish_state(), tmp_path / "a.pth"), monkeypatch)
    clip = make_clip(tmp_path / "tone.wav", 2.5)
    first = earsight.extractor("vggish").extract(clip)
    assert first.values.shape == (2, 128) and site.hits["/vggish.pth"] == 1
    site.pages.clear()
    again = earsight.extractor("vggish").extract(clip)
    assert np.array_equal(first.values, again.values)
    home = tmp_path / "home" / "weights" / "vggish"
    assert {p.name for p in home.rglob("*.*") if p.is_file()} >= {"vggish.pth", "model.onnx"}


def test_weights_that_are_replaced_are_used_at_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process, as of a server: no vector of the old ones under the new fingerprint."""
    clip = make_clip(tmp_path / "tone.wav", 1.2)
    found = {}
    for scale in (1.0, 1.5):
        state = {name: scale * weight for name, weight in vggish_state().items()}
        blob = saved(state, tmp_path / "a.pth")
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        published(site, tmp_path, blob, monkeypatch)
        kind = earsight.extractor("vggish")
        values = kind.extract(clip).values
        found[kind.fingerprint] = values
    old, new = found.values()
    assert np.abs(new - old).max() > 0.01 * np.abs(old).max()


@pytest.mark.parametrize("harm", ["truncated on its way", "another file"])
def test_a_download_that_is_not_the_file_is_not_kept(
    harm: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = saved(vggish_state(), tmp_path / "a.pth")
    published(site, tmp_path, blob, monkeypatch)
    site.put("/vggish.pth", blob[:-1000] if harm.startswith("trunc") else b"x" * len(blob))
    with pytest.raises(WeightsError, match=r"vggish.pth has the wrong checksum"):
        earsight.extractor("vggish").extract(make_clip(tmp_path / "tone.wav"))
    assert not list((tmp_path / "home").rglob("*.pth"))


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("harm", ["code", "old pickle", "truncated", "other keys", "other shape"])
def test_a_file_with_the_right_checksum_is_still_not_trusted(
    harm: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ran = tmp_path / "a.pth", tmp_path / "it ran"
    state = vggish_state()
    match harm:
        case "code":
            blob = saved(state | {"features.0.bias": Code(ran)}, path)
        case "old pickle":
            blob = pickle.dumps(Code(ran), protocol=2)
        case "truncated":
            blob = saved(state, path)[:5000]
        case "other keys":
            blob = saved({f"net.{key}": tensor for key, tensor in state.items()}, path)
        case "other shape":
            blob = saved(state | {"embeddings.0.weight": torch.zeros(32, 7)}, path)
    published(site, tmp_path, blob, monkeypatch)
    said = "is not VGGish, whose layers are" if "other" in harm else "not a readable state dict"
    with pytest.raises(WeightsError, match=said):
        earsight.extractor("vggish").extract(make_clip(tmp_path / "tone.wav"))
    assert not ran.exists() and not list((tmp_path / "home").rglob("*.onnx"))


# ---------------------------------------------------------------- the real weights


@pytest.mark.online
def test_the_official_smoke_test(tmp_path: Path) -> None:
    """Needs the 288 MB of the real weights: pytest -m online tests/test_vggish.py."""
    weights.fetch("vggish", source="torchvggish", trust_first_use=True)
    t = np.arange(3 * 16_000) / 16_000
    session = vggish.VGGish()._session()
    session.feed(AudioBlock(16_000, 0.0, np.sin(2 * np.pi * 1000 * t).astype(np.float32)))
    embedding = session.close()["embedding"].values
    assert embedding.shape == (3, 128)
    assert embedding.mean() == pytest.approx(0.000657, rel=0.1)
    assert embedding.std() == pytest.approx(0.343, rel=0.1)
    ported = vggish.VGGish(activation="relu").finish(embedding)
    assert ported.mean() == pytest.approx(0.131, rel=0.1)  # of the first release, which had a ReLU
    assert ported.std() == pytest.approx(0.238, rel=0.1)
    eight_bits = vggish.VGGish(postprocess=True).finish(embedding)
    assert eight_bits.mean() == pytest.approx(126.0, rel=0.1)
    assert eight_bits.std() == pytest.approx(89.3, rel=0.1)
