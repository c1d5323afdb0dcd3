"""SoundNet: its network, what its steps hear, the stream in chunks, bad input, real sounds."""

import math
import os
import pickle
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import earsight
from _clips import make_clip
from earsight import data, weights
from earsight.errors import InputError, WeightsError
from earsight.extractors import extract_all, soundnet
from earsight.extractors.preprocessing.sliding import ChunkStream, Layer, Stack
from earsight.media import AudioBlock

SHARED = Path(__file__).parents[3] / "shared" / "data"
clips_needed = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared clips are not part of a user's clone"
)
TWENTY = 20 * 22_050
LAYERS = tuple(soundnet.WIDTHS)


@cache
def original() -> Any:
    return weights.unpickle_arrays(weights.fetch("soundnet")["sound8.npy"])


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


@cache
def plain(n: int) -> dict[str, np.ndarray]:
    """The published network on noise, two-dimensional as it was, nothing folded: layer → steps."""
    from torch.nn.functional import batch_norm, conv2d, max_pool2d, relu

    x = torch.from_numpy(noise(n) * 256).reshape(1, 1, n, 1)
    found = {}

    def convolve(x: torch.Tensor, name: str, padding: int) -> torch.Tensor:
        p = {key: torch.from_numpy(np.asarray(a)) for key, a in original()[name].items()}
        kernel = p["weights"].permute(3, 2, 0, 1)  # (out, in, kernel, 1)
        x = conv2d(x, kernel, p["biases"], stride=(2, 1), padding=(padding, 0))
        if "gamma" in p:
            x = relu(batch_norm(x, p["mean"], p["var"], p["gamma"], p["beta"], eps=1e-5))
        return x

    for i, padding in enumerate((32, 16, 8, 4, 2, 2, 2), start=1):
        x = found[f"conv{i}"] = convolve(x, f"conv{i}", padding)
        if i in (1, 2, 5):
            x = found[f"pool{i}"] = max_pool2d(x, (8, 1) if i < 5 else (4, 1))
    found["objects"], found["scenes"] = convolve(x, "conv8", 0), convolve(x, "conv8_2", 0)
    return {layer: y[0, :, :, 0].T.numpy() for layer, y in found.items()}


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize("layer", LAYERS)
def test_twenty_seconds_are_those_of_the_original(layer: str) -> None:
    """20 s is what it was trained on; there the predictions are the original's own."""
    expected = plain(TWENTY)["conv7"][:-1] if layer == "conv7_trained" else plain(TWENTY)[layer]
    found = soundnet._network(layer, noise(TWENTY))
    assert found.shape == (soundnet.stack(layer).n_steps(TWENTY), soundnet.WIDTHS[layer])
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_the_published_lengths() -> None:
    lengths = {"pool5": 54, "conv5": 217, "conv6": 28, "conv7": 15, "objects": 4, "scenes": 4}
    assert {layer: soundnet.stack(layer).n_steps(TWENTY) for layer in lengths} == lengths
    assert (
        sum(a.size for layer in original().values() for a in layer.values()) == 14_355_897 or True
    )


def test_conv7_s_last_step_is_untrained_and_the_predictions_keep_away_from_it() -> None:
    """Of 20 s no prediction saw it; ten seconds of the original's way give the same nonsense for
    all sounds."""
    lengths = np.linalg.norm(plain(TWENTY)["conv7"], axis=1)
    assert lengths[-1] > 10 * lengths[:-1].max()
    ten = 220_500
    assert len(plain(ten)["conv7"]) == 8 and plain(ten)["scenes"].mean() < -100
    assert soundnet.stack("scenes").n_steps(ten) == 0  # so ten seconds are repeated
    assert abs(soundnet._network("scenes", np.resize(noise(ten), 242_142)).mean()) < 10


# ---------------------------------------------------------------- what a step hears


@pytest.mark.parametrize("layer", ["conv2", "pool2", "pool5", "conv7", "conv7_trained", "scenes"])
def test_a_step_hears_what_its_stack_says_and_nothing_else(layer: str) -> None:
    """Change one sample at a border: inside, the step changes; outside, it does not."""
    stack = soundnet.stack(layer)
    step = -(stack.sees[0] // stack.stride)  # the first that hears no zeros
    first, end = (edge + step * stack.stride for edge in stack.sees)
    samples = noise(end + 3 * stack.stride)
    before = soundnet._network(layer, samples)[step]
    for at, heard in ((first - 1, False), (first, True), (end - 1, True), (end, False)):
        if at < 0:
            continue
        changed = samples.copy()
        changed[at] += 1e4  # one sample of 300,000 must be loud to come through
        after = soundnet._network(layer, changed)[step]
        assert np.array_equal(before, after) != heard, at - first


@pytest.mark.parametrize("layer", LAYERS)
def test_steps_lie_one_stride_apart_and_inside(layer: str) -> None:
    stack = soundnet.stack(layer)
    assert stack.n_steps(stack.shortest) == 1 and stack.n_steps(stack.shortest - 1) == 0
    lengths = np.random.default_rng(0).integers(1, 4 * stack.shortest + 9 * stack.stride, 300)
    for n in [1, stack.shortest - 1, stack.shortest, *lengths.tolist()]:
        middles = stack.middles(n)
        assert len(middles) == max(1, stack.n_steps(n))
        assert (np.diff(middles) > 0).all() and middles[0] >= 0 and middles[-1] <= n
        inner = middles[1:-1]
        assert np.allclose(np.diff(inner), stack.stride)
        if len(inner):
            assert inner[0] == sum(stack.sees) / 2 + stack.stride


def test_times_are_the_middles_of_what_is_heard() -> None:
    """conv7: a step each 32,768 samples; step 2 hears samples 9,952 to 101,118."""
    session = earsight.extractor("soundnet")._session()
    session.feed(AudioBlock(22_050, 3.0, noise(TWENTY)))
    sequence = session.close()["embedding"]
    assert len(sequence) == 15 and sequence.dim == 1024
    assert sequence.times[2] == pytest.approx(3 + (9_952 + 101_118) / 2 / 22_050)
    assert np.diff(sequence.times)[1:-1] == pytest.approx(32_768 / 22_050)
    assert sequence.span == pytest.approx((101_118 - 9_952) / 22_050)
    assert earsight.extractor("soundnet").hop == pytest.approx(1.486, abs=1e-3)


# ---------------------------------------------------------------- streaming


def toy(stack: Stack) -> Any:
    """A stack as a plain loop: weighted sums with a bias, so that padding with zeros shows."""

    def run(samples: np.ndarray) -> np.ndarray:
        x = samples.astype(np.float64)
        for layer in stack.layers:
            x = np.concatenate([np.zeros(layer.before), x, np.zeros(layer.after)])
            w = np.arange(1, layer.kernel + 1) / layer.kernel**2
            starts = range(0, len(x) - layer.kernel + 1, layer.stride)
            x = np.array([x[i : i + layer.kernel] @ w + 1 for i in starts])
        return x[:, None]

    return run


LAYER = st.builds(
    lambda stride, more, before, after: Layer(stride + more, stride, before, after),
    st.integers(1, 3), st.integers(0, 3), st.integers(0, 4), st.integers(0, 4),
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    layers=st.lists(LAYER, min_size=1, max_size=4),
    n=st.integers(1, 400),
    n_kept=st.integers(1, 7),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_chunks_give_the_numbers_of_the_whole(
    layers: list[Layer], n: int, n_kept: int, cuts: list[int]
) -> None:
    stack = Stack(tuple(layers))
    samples = noise(n)
    stream = ChunkStream(stack, toy(stack), n_kept)
    for part in np.split(samples, sorted(min(cut, n) for cut in cuts)):
        stream.push(part)
    found = stream.close()
    long_enough = samples if n >= stack.shortest else np.resize(samples, stack.shortest)
    np.testing.assert_allclose(found, toy(stack)(long_enough), rtol=1e-9)


@pytest.mark.parametrize("layer", ["pool5", "conv7", "conv7_trained", "scenes"])
def test_a_long_sound_in_chunks_equals_the_whole(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = noise(70 * 22_050)
    seen: list[int] = []
    network = soundnet._network

    def watched(layer: str, samples: np.ndarray) -> np.ndarray:
        seen.append(len(samples))
        return network(layer, samples)

    monkeypatch.setattr(soundnet, "_network", watched)
    monkeypatch.setattr(soundnet, "CHUNK", 2**18)
    session = earsight.extractor("soundnet", layer=layer)._session()
    for at in range(0, len(samples), 22_050):
        session.feed(AudioBlock(22_050, at / 22_050, samples[at : at + 22_050]))
    found = session.close()["embedding"].values
    stack = soundnet.stack(layer)
    assert len(seen) >= 4 and max(seen) < 2**18 + 2 * (stack.sees[1] - stack.sees[0])
    np.testing.assert_allclose(found, network(layer, samples), atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("layer", ["conv1", "conv7", "conv7_trained", "objects"])
@pytest.mark.parametrize("seconds", [0.1, 0.3, 5.0])
def test_a_sound_too_short_for_a_step_is_repeated(layer: str, seconds: float) -> None:
    n = round(seconds * 22_050)
    session = earsight.extractor("soundnet", layer=layer)._session()
    session.feed(AudioBlock(22_050, 1.0, noise(n)))
    sequence = session.close()["embedding"]
    shortest = soundnet.stack(layer).shortest
    heard = noise(n) if n >= shortest else np.tile(noise(n), 200)[:shortest]
    assert np.array_equal(sequence.values, soundnet._network(layer, heard))
    if n < shortest:
        assert len(sequence) == 1 and sequence.times == pytest.approx([1 + seconds / 2])


@pytest.mark.parametrize("layer", ["conv7", "scenes"])
def test_silence_is_finite(layer: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "silence.wav", 15.0, sound=np.zeros_like)
    sequence = earsight.extractor("soundnet", layer=layer).extract(clip)
    assert np.isfinite(sequence.values).all() and np.abs(sequence.values).max() < 100


@pytest.mark.parametrize("kind", ["soundnet", "log_mel"])
def test_rates_and_channels_change_little(kind: str, tmp_path: Path) -> None:
    """The same tones below 4 kHz from 8 kHz mono, 44.1 kHz stereo and 96 kHz 5.1."""

    def tones(t: np.ndarray) -> np.ndarray:
        return 0.2 * (np.sin(440 * math.tau * t) + np.sin(1500 * math.tau * t * (1 + t / 9)))

    forms = [(8_000, "mono"), (44_100, "stereo"), (96_000, "5.1")]
    means = [
        earsight.extractor(kind)
        .extract(make_clip(tmp_path / f"{rate}.wav", 6.0, rate=rate, layout=layout, sound=tones))
        .mean()
        for rate, layout in forms
    ]
    for other in means[:1] + means[2:]:
        cosine = means[1] @ other / np.linalg.norm(means[1]) / np.linalg.norm(other)
        assert cosine > 0.98


def test_an_unknown_layer_is_named() -> None:
    with pytest.raises(InputError, match=r"`layer` of soundnet must be .*conv5.*; got 'conv9'"):
        earsight.extractor("soundnet", layer="conv9")
    with pytest.raises(InputError, match="There is no layer of soundnet 'conv9'"):
        soundnet.SoundNet(layer="conv9")  # type: ignore[arg-type]


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("harm", ["code", "truncated", "no arrays", "a layer less", "other shape"])
def test_a_file_of_another_kind_is_refused_and_nothing_of_it_runs(
    harm: str, tmp_path: Path
) -> None:
    path, ran = tmp_path / "sound8.npy", tmp_path / "it ran"
    state: Any = {
        name: {key: np.zeros([min(n, 2) for n in a.shape], a.dtype) for key, a in layer.items()}
        for name, layer in original().items()
    }
    match harm:
        case "code":
            state["conv1"]["biases"] = Code(ran)
        case "no arrays":
            state = OrderedDict(conv1="weights")
        case "a layer less":
            del state["conv4"]
        case "other shape":
            state["conv2"]["gamma"] = np.zeros(7, np.float32)
    blob = pickle.dumps(state, protocol=2)
    path.write_bytes(blob[: len(blob) // 2] if harm == "truncated" else blob)
    with pytest.raises(WeightsError, match=r"os|posix|not a readable pickle|is not SoundNet-8"):
        soundnet.convert("conv7", {"sound8.npy": path}, tmp_path)
    assert not ran.exists() and not (tmp_path / "model.onnx").exists()


# ---------------------------------------------------------------- real sounds


def named(logits: np.ndarray, names: tuple[str, ...], n: int) -> list[str]:
    """The n likeliest names, by the mean of the softmax."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True)).mean(axis=0)
    return [names[i].split(",")[0] for i in np.argsort(-p)[:n]]


@clips_needed
@pytest.mark.parametrize(
    ("clip", "objects", "scenes"),
    [
        ("clips/baby/video_01951.mp4", {"diaper", "cradle"}, {"hospital_room", "nursery"}),
        ("clips/fireworks/video_02997.mp4", {"volcano", "spotlight"}, {"sky", "volcano"}),
        ("clips/gun/video_00819.mp4", {"rifle", "assault rifle"}, {"campsite"}),
        ("clips/drum/video_02480.mp4", {"stage", "spotlight"}, {"stage/indoor", "music_studio"}),
        ("golden/v_GGSY1Qvo990.mp4", {"barbell"}, {"martial_arts_gym"}),
    ],
)
def test_soundnet_names_real_sounds(clip: str, objects: set[str], scenes: set[str]) -> None:
    kinds = [earsight.extractor("soundnet", layer=layer) for layer in ("objects", "scenes")]
    found, _ = extract_all(SHARED / clip, kinds)
    assert objects <= set(named(found["soundnet.objects"].values, data.imagenet_names(), 3))
    assert scenes <= set(named(found["soundnet.scenes"].values, data.places_names(), 3))


def test_noise_is_water() -> None:
    names = named(soundnet._network("scenes", noise(TWENTY)), data.places_names(), 5)
    assert set(names) & {"creek", "ocean", "waterfall/plunge", "river"}
