"""Each extractor against what it should compute: oracles, slow second versions, real clips."""

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earsight
from _real_clips import CLIPS, SHARED, clips_needed
from earsight import data, weights
from earsight.errors import InputError, WeightsError
from earsight.extractors import FeatureExtractor, colour_edges, efficientnet, extract_all, yamnet
from earsight.extractors.preprocessing import log_mel
from earsight.extractors.runtime import onnx
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest

# The log-mel front end


def slow_log_mel(samples: np.ndarray) -> np.ndarray:
    """The definition, one frame, one frequency and one band at a time."""
    mel = lambda f: 1127 * math.log(1 + f / 700)  # noqa: E731
    edges = [mel(125) + i * (mel(7500) - mel(125)) / 65 for i in range(66)]
    n = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    rows = []
    for start in range(0, len(samples) - 399, 160):
        frame = samples[start : start + 400] * hann
        magnitude = [abs(np.sum(frame * np.exp(-2j * np.pi * k * n / 512))) for k in range(257)]
        row = []
        for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
            band = 0.0
            for k in range(1, 257):
                m = mel(k * 16000 / 512)
                band += magnitude[k] * max(
                    0.0, min((m - low) / (centre - low), (high - m) / (high - centre))
                )
            row.append(math.log(band + 0.001))
        rows.append(row)
    return np.array(rows)


def test_log_mel_is_its_definition() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 900).astype(np.float32)
    assert log_mel.log_mel(samples).shape == (4, 64)
    np.testing.assert_allclose(log_mel.log_mel(samples), slow_log_mel(samples), atol=2e-5)


def test_silence_is_the_logarithm_of_the_offset() -> None:
    assert np.allclose(log_mel.log_mel(np.zeros(400, dtype=np.float32)), math.log(0.001))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 20_000), max_size=8))
def test_log_mel_of_a_stream_has_the_same_bits_however_it_is_cut(cuts: list[int]) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 20_000).astype(np.float32)
    whole = log_mel.LogMelStream(48).push(samples)
    stream = log_mel.LogMelStream(48)
    parts = [g for part in np.split(samples, sorted(cuts)) for g in stream.push(part)]
    assert np.array_equal(whole, parts)
    assert np.allclose(
        np.concatenate(whole), log_mel.log_mel(samples)[: 48 * len(whole)], atol=1e-6
    )


# Batches


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_batches_are_cut_at_global_numbers(n: int, sizes: list[int]) -> None:
    seen = []

    def network(batch: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(len(batch))
        return {"double": 2 * batch}

    batches = onnx.Batches(network, size=4)
    for i in range(n):
        batches.add(np.array([float(i)]))
    out = batches.close()
    assert seen == sizes
    assert out == {} if n == 0 else out["double"].tolist() == [[2.0 * i] for i in range(n)]


@pytest.mark.parametrize("bad", ["0", "-1", "two", "1.5"])
def test_the_number_of_threads_must_be_one(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARSIGHT_THREADS", bad)
    with pytest.raises(
        InputError, match=f"EARSIGHT_THREADS must be a whole number .*; got '{bad}'"
    ):
        onnx.n_threads()
    monkeypatch.setenv("EARSIGHT_THREADS", "2")
    assert onnx.n_threads() == 2


def test_a_damaged_network_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"Remove the folder .*; it is made anew"):
        onnx.load(tmp_path / "model.onnx")


# YAMNet


def hear(samples: np.ndarray, monkeypatch: pytest.MonkeyPatch, start: float = 0.0):
    """Run YAMNet's session with a network that returns its own patches."""
    monkeypatch.setattr(
        yamnet, "_network", lambda patches: {"embedding": patches.reshape(-1, 6144)}
    )
    session = yamnet.YAMNet()._session()
    for at in range(0, len(samples), 5000):
        session.feed(AudioBlock(16_000, start + at / 16_000, samples[at : at + 5000]))
    return session.close()


@pytest.mark.parametrize("n", [1, 400, 3_200, 15_600, 15_601, 23_280, 23_281, 100_000])
def test_patches_are_those_of_the_official_padding(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(2).uniform(-0.5, 0.5, n).astype(np.float32)
    sequence = hear(samples, monkeypatch)["embedding"]
    # Official rule: at least 15,600 samples, and after them a whole number of hops of 7,680.
    padded = np.zeros(max(15_600, 15_600 + math.ceil((n - 15_600) / 7_680) * 7_680), np.float32)
    padded[:n] = samples
    frames = log_mel.log_mel(padded)
    patches = [frames[i : i + 96] for i in range(0, len(frames) - 95, 48)]
    assert len(sequence) == len(patches)
    assert np.allclose(sequence.values.reshape(-1, 96, 64), patches, atol=1e-5)
    assert (np.diff(sequence.times) == pytest.approx(0.48)) and sequence.times[-1] < n / 16_000


def test_times_count_from_where_the_sound_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = hear(np.ones(32_000, dtype=np.float32), monkeypatch, start=2.5)["embedding"]
    assert sequence.times == pytest.approx([2.98, 3.46, 3.94, 4.42])
    assert sequence.span == 0.96


def test_yamnet_refuses_originals_that_it_never_met(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"from model.onnx with model.data; got yamnet.pth"):
        yamnet.convert({"yamnet.pth": tmp_path / "yamnet.pth"}, tmp_path)


@pytest.mark.parametrize("sound", ["noise", "dog"])
def test_converted_yamnet_is_the_original_up_to_its_8_bits(sound: str) -> None:
    """The original, run as it is, rounds to 8 bits between its layers; the float one doesn't."""
    import onnxruntime as ort
    from onnx import load, numpy_helper

    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 15_600)
    if sound == "dog":
        if not CLIPS:
            pytest.skip("The ten real clips of shared/data are not here")
        decoder = Decoder(SHARED / "clips" / "dog" / "video_02754.mp4", audio=[16_000])
        samples = np.concatenate([block.samples for block in decoder])[32_000:47_600]
    patch = log_mel.log_mel(samples.astype(np.float32))[None, None]

    original = weights.fetch("yamnet")["model.onnx"]
    constants = {c.name: numpy_helper.to_array(c) for c in load(original).graph.initializer}
    levels = np.round(patch / constants["audio_scale"] + constants["audio_zero_point"])
    exact = ort.SessionOptions()  # optimised, 8-bit sums saturate on processors without VNNI
    exact.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    quantised = ort.InferenceSession(original, exact, providers=["CPUExecutionProvider"])
    (rounded,) = quantised.run(None, {"audio": np.clip(levels, 0, 255).astype(np.uint8)})
    step = constants["class_scores_scale"]
    logits = step * (rounded[0].astype(np.float64) - constants["class_scores_zero_point"])

    scores = onnx.run(yamnet._model(), patches=patch)["scores"][0].astype(np.float64)
    clear = scores > 1e-12
    ours = np.log(scores[clear] / (1 - scores[clear]))
    assert clear.sum() > 100
    assert np.corrcoef(logits[clear], ours)[0, 1] > 0.9
    assert abs(logits[clear] - ours).mean() < 2 * step
    assert logits[scores.argmax()] >= logits.max() - 2 * step


@clips_needed
@pytest.mark.parametrize(
    ("clip", "name"),
    [
        ("baby/video_01951.mp4", "Crying, sobbing"),
        ("dog/video_02677.mp4", "Domestic animals, pets"),
        ("drum/video_02542.mp4", "Music"),
        ("fireworks/video_02997.mp4", "Fireworks"),
    ],
)
def test_yamnet_names_real_sounds(clip: str, name: str) -> None:
    found, _ = extract_all(SHARED / "clips" / clip, [yamnet.YAMNet()])
    scores = found["yamnet.scores"]
    assert scores.values.min() >= 0 and scores.values.max() <= 1
    assert data.audioset_names()[int(scores.mean().argmax())] == name


# EfficientNet-lite0


def test_converted_efficientnet_equals_torch_without_folding() -> None:
    """Torch's own batch norm, block by block by the published table, against the ONNX file."""
    import torch
    from torch.nn.functional import batch_norm, conv2d, pad, relu6

    (path,) = weights.fetch("efficientnet_lite0").values()
    state = torch.load(path, weights_only=True)

    def unit(x, conv, norm, stride=1, act=True):
        weight = state[f"{conv}.weight"]
        kernel, groups = weight.shape[2], x.shape[1] // weight.shape[1]
        out = -(-x.shape[2] // stride)  # TensorFlow's SAME
        total = max(0, (out - 1) * stride + kernel - x.shape[2])
        x = pad(x, [total // 2, total - total // 2] * 2)
        x = conv2d(x, weight, stride=stride, groups=groups)
        norms = [state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        x = batch_norm(x, *norms, eps=1e-3)
        return relu6(x) if act else x

    frames = np.random.default_rng(3).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    x = (torch.from_numpy(frames).float().permute(0, 3, 1, 2) - 127) / 128
    x = unit(x, "_conv_stem", "_bn0", 2)
    firsts = {0: 1, 1: 2, 3: 2, 5: 2, 8: 1, 11: 2, 15: 1}  # a stage's first block: its stride
    for i in range(16):
        b, y = f"_blocks.{i}", x
        if i > 0:
            y = unit(y, f"{b}._expand_conv", f"{b}._bn0")
        y = unit(y, f"{b}._depthwise_conv", f"{b}._bn1", firsts.get(i, 1))
        y = unit(y, f"{b}._project_conv", f"{b}._bn2", act=False)
        x = y if i in firsts else x + y
    pooled = unit(x, "_conv_head", "_bn1").mean((2, 3))
    logits = pooled @ state["_fc.weight"].T + state["_fc.bias"]

    heads = efficientnet._network(frames)
    np.testing.assert_allclose(heads["embedding"], pooled.numpy(), atol=1e-4)
    np.testing.assert_allclose(heads["scores"], logits.numpy(), atol=1e-4)


def test_a_frame_is_seen_at_its_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def network(frames: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(frames)
        return {"embedding": np.zeros((len(frames), 1280), np.float32)}

    monkeypatch.setattr(efficientnet, "_network", network)
    frame = np.random.default_rng(4).integers(0, 256, (256, 341, 3), dtype=np.uint8)
    session = efficientnet.EfficientNet()._session()
    session.feed(FrameBlock(FrameRequest(2.0, 256), np.zeros(1), frame[None]))
    session.close()
    assert np.array_equal(seen[0], frame[None, 16:240, 58:282])


@clips_needed
@pytest.mark.parametrize(
    ("clip", "classes"),
    [
        ("clips/dog/video_02677.mp4", range(151, 269)),  # ImageNet's breeds of dog
        ("golden/v_GGSY1Qvo990.mp4", [422, 543]),  # barbell, dumbbell
    ],
)
def test_efficientnet_names_real_sights(clip: str, classes: Sequence[int]) -> None:
    found, _ = extract_all(SHARED / clip, [efficientnet.EfficientNet(fps=1.0)])
    best = np.argsort(-found["efficientnet.scores"].mean())[:2]
    assert set(best.tolist()) <= set(classes)


@pytest.mark.parametrize("kind", ["efficientnet", "colour_edges"])
@pytest.mark.parametrize("fps", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_must_be_a_rate(kind: str, fps: float) -> None:
    with pytest.raises(InputError, match=r"`fps` must be above 0") as error:
        earsight.extractor(kind, fps=fps)
    assert "None" not in str(error.value)  # "every frame" is the decoder's word, not an extractor's


@pytest.mark.parametrize("kind", [colour_edges.ColourEdges, efficientnet.EfficientNet])
def test_every_frame_is_no_rate(kind: type[FeatureExtractor]) -> None:
    with pytest.raises(InputError, match=r"`fps` must be above 0.*got None"):
        kind(fps=None)  # type: ignore[call-arg]


def test_the_public_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, earsight.extractors as e, earsight.discovery as d\n"
        "assert 'colour_edges' in d.names('extractors')\n"
        "assert not {'numpy', 'earsight.media', 'earsight.extractors._base'} & set(sys.modules)\n"
        "from earsight.extractors import FeatureExtractor, extract_all\n"
        "assert extract_all is sys.modules['earsight.extractors._base'].extract_all\n"
        "assert not hasattr(e, 'no_such_name')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The small ones


def test_log_mel_statistics_are_those_of_the_frames() -> None:
    samples = np.random.default_rng(6).normal(0, 0.1, 40_000).astype(np.float32)
    session = earsight.extractor("log_mel")._session()
    session.feed(AudioBlock(16_000, 1.0, samples))
    sequence = session.close()["embedding"]
    frames = log_mel.log_mel(samples)  # 248 of them: 96, 96, 56
    for values, part in zip(sequence.values, np.split(frames, [96, 192]), strict=True):
        expected = np.concatenate([part.mean(axis=0), part.std(axis=0)])
        np.testing.assert_allclose(values, expected, atol=1e-5)
    assert sequence.times == pytest.approx([1.48, 2.44, 1 + (1.92 + 2.5) / 2])


def test_edges_have_their_orientation_and_colours_their_share() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, 32:] = (255, 0, 0)
    upright = colour_edges.histograms(stripes) ** 2
    assert upright[0] == upright[48] == pytest.approx(0.5)  # black, red
    assert upright[64] == pytest.approx(1.0)
    lying = colour_edges.histograms(stripes.transpose(1, 0, 2)) ** 2
    assert lying[64 + 8] == pytest.approx(1.0)  # a quarter turn of the half
    assert np.array_equal(upright[:64], lying[:64])


# One pass for several


def test_two_of_a_kind_in_one_pass_are_refused() -> None:
    kinds = [earsight.extractor("colour_edges", fps=fps) for fps in (1.0, 2.0)]
    with pytest.raises(InputError, match=r"a key of its own .* colour_edges, colour_edges"):
        extract_all("clip.mp4", kinds)


def test_a_broken_clip_is_in_the_report_and_a_broken_network_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "text.mp4"
    clip.write_text("This is no clip.")
    found, report = extract_all(clip, [earsight.extractor("log_mel")])
    assert found == {} and report.status == "unreadable" and report.message

    def fails(frame: np.ndarray) -> np.ndarray:
        raise RuntimeError("the network broke")

    from PIL import Image

    Image.new("RGB", (80, 80)).save(tmp_path / "black.png")
    monkeypatch.setattr(colour_edges, "histograms", fails)
    with pytest.raises(RuntimeError, match="the network broke"):
        extract_all(tmp_path / "black.png", [earsight.extractor("colour_edges")])
