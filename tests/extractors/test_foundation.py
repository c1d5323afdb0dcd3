"""CLIP, CLAP and PE-AV on tiny random models: the same numbers as `transformers` itself gives."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import _tiny_models
import earsight
from _clips import make_clip
from _hub_server import hub
from earsight.errors import InputError, WeightsError
from earsight.extractors._base import FeatureExtractor, extract_all
from earsight.extractors.runtime import hub as hub_models
from earsight.media import AudioBlock, Decoder, FrameRequest

KINDS = {
    "clip": ("visual", "text"),
    "clap": ("audio", "text"),
    "pe_av": ("audio", "visual", "text"),
}
SENTENCE = "A dog barks at the fireworks."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        hub_models.package()
        _tiny_models.small_tower(patch)
        for name in KINDS:
            (folder / name).mkdir()
            getattr(_tiny_models, name)(folder / name)
        yield folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3.2 s of a rising tone and a moving square."""

    def square(t: float) -> np.ndarray:
        picture = np.full((60, 80, 3), 30, dtype=np.uint8)
        picture[20:40, int(20 * t) : int(20 * t) + 20] = (220, 180, 40)
        return picture

    return make_clip(
        tmp_path_factory.mktemp("video") / "clip.mkv",
        3.2,
        rate=48_000,
        size=(80, 60),
        draw=square,
        sound=lambda t: 0.4 * np.sin(2 * np.pi * 300 * t * (1 + t)),
    )


def made(models: Path, name: str, modality: str, **more: Any) -> FeatureExtractor:
    folder = str(models / name)
    extractor: FeatureExtractor = earsight.extractor(name, modality=modality, model=folder, **more)
    return extractor


def sound_of(clip: Path) -> np.ndarray:
    blocks = [b for b in Decoder(clip, audio=[48_000], threads=1) if isinstance(b, AudioBlock)]
    return np.concatenate([block.samples for block in blocks])


def frames_of(clip: Path, fps: float) -> np.ndarray:
    decoder = Decoder(clip, frames=[FrameRequest(fps, None)], threads=1)
    return np.concatenate([block.frames for block in decoder])


def unit(x: torch.Tensor) -> np.ndarray:
    return (x / x.norm(dim=1, keepdim=True)).numpy()


@torch.inference_mode()
def test_clip_is_transformers_own(models: Path, video: Path) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    folder = models / "clip"
    model = CLIPModel.from_pretrained(folder).eval()
    seen = made(models, "clip", "visual").extract(video)
    pictures = CLIPImageProcessorPil.from_pretrained(folder)(
        list(frames_of(video, 1.0)), return_tensors="pt"
    )
    read = AutoTokenizer.from_pretrained(folder)(SENTENCE, return_tensors="pt")
    whole = model(**pictures, **read)
    assert seen.values.shape == (4, 8) and np.allclose(seen.times, np.arange(4), atol=0.04)
    assert np.allclose(seen.values, whole.image_embeds.numpy(), atol=1e-5)
    vector = made(models, "clip", "text").embed([SENTENCE])
    assert np.allclose(vector, whole.text_embeds.numpy(), atol=1e-5)
    assert np.ptp(seen.values, axis=0).max() > 1e-3, "frames must make a difference"


@torch.inference_mode()
def test_clap_is_transformers_own(models: Path, video: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    folder = models / "clap"
    model = ClapModel.from_pretrained(folder).eval()
    front = ClapFeatureExtractor.from_pretrained(folder)
    samples = sound_of(video)
    windows = [samples[:96_000], samples[96_000:]]
    heard = made(models, "clap", "audio", window=2).extract(video)
    for window, vector in zip(windows, heard.values, strict=True):
        prepared = front(window, sampling_rate=48_000, return_tensors="pt")
        expected = model.get_audio_features(**prepared).pooler_output
        assert np.allclose(vector, expected[0].numpy(), atol=1e-5)
    assert heard.times == pytest.approx([1.0, 2.6], abs=0.03)
    assert heard.weights == pytest.approx([2.0, 1.2], abs=0.03)
    read = AutoTokenizer.from_pretrained(folder)(SENTENCE, return_tensors="pt")
    expected = model.get_text_features(**read).pooler_output
    assert np.allclose(made(models, "clap", "text").embed([SENTENCE]), expected, atol=1e-5)
    # The original draws by lot which sound of a batch goes through the fusion branch.
    _tiny_models.clap(tmp_path, fusion=True)
    fused = earsight.extractor("clap", model=str(tmp_path), window=2)
    again = fused.extract(video).values
    assert np.array_equal(fused.extract(video).values, again)


@torch.inference_mode()
def test_pe_av_is_transformers_own(models: Path, video: Path) -> None:
    from transformers import AutoTokenizer, PeAudioFeatureExtractor, PeAudioVideoModel

    folder = models / "pe_av"
    model = PeAudioVideoModel.from_pretrained(folder).eval()
    sound = PeAudioFeatureExtractor.from_pretrained(folder)(
        sound_of(video), sampling_rate=48_000, return_tensors="pt"
    )
    sight = made(models, "pe_av", "visual", fps=5)
    frames = frames_of(video, 5)
    pixels = torch.from_numpy(np.stack([sight._prepare(frame) for frame in frames]))[None]
    read = AutoTokenizer.from_pretrained(folder)(SENTENCE, return_tensors="pt")
    whole = model(**sound, pixel_values_videos=pixels, input_ids=read["input_ids"])
    heard = made(models, "pe_av", "audio").extract(video)
    assert np.allclose(heard.values, whole.audio_embeds, atol=1e-5)
    assert np.allclose(sight.extract(video).values, whole.video_embeds, atol=1e-5)
    heads = {"both": "text_audio_video", "audio": "text_audio", "visual": "text_video"}
    for text, name in heads.items():
        vector = made(models, "pe_av", "text", text=text).embed([SENTENCE])
        assert np.allclose(vector, whole[f"{name}_embeds"], atol=1e-5)
    # Two windows, each for itself, and the last one shorter.
    halves = made(models, "pe_av", "visual", fps=5, window=2).extract(video)
    for part, vector in zip((pixels[:, :10], pixels[:, 10:]), halves.values, strict=True):
        found = model.video_model.video_encoder(pixel_values_videos=part).pooler_output
        assert np.allclose(vector, model.video_model.video_head(found)[0], atol=1e-5)
    assert halves.weights.tolist() == [10.0, 6.0]


def test_frames_are_prepared_as_the_settings_say(models: Path) -> None:
    """A picture of one size needs no scaling: (x/255 − mean)/deviation, channels first."""
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = made(models, "pe_av", "visual")._prepare(frame)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.float32
    assert pixels[1, 4, 7] == pytest.approx((frame[4, 7, 1] / 255 - 0.5) / 0.5)


def test_the_common_promises(models: Path, video: Path, tmp_path: Path) -> None:
    """What `test_every_extractor` asks of the others, in one pass over one clip."""
    text = tmp_path / "text.txt"
    text.write_text(SENTENCE)
    for name, modalities in KINDS.items():
        kinds = {m: made(models, name, m) for m in modalities}
        assert len({kind.space for kind in kinds.values()}) == 1
        assert len({kind.fingerprint for kind in kinds.values()}) == len(kinds)
        for modality, kind in kinds.items():
            clip = text if modality == "text" else video
            found, report = extract_all(clip, [kind])
            sequence = found[f"{name}.{modality}"]
            assert sequence.values.dtype == np.float32 and sequence.values.shape[1] == kind.dim == 8
            assert np.isfinite(sequence.values).all()
            assert sequence.times[0] >= 0 and sequence.times[-1] <= report.duration
            assert kind.at_hand and kind.fingerprint == made(models, name, modality).fingerprint
            kind.fetch_weights()
        short = make_clip(tmp_path / f"{name}.mkv", 0.1, rate=48_000)
        for modality in set(modalities) - {"text"}:
            assert len(kinds[modality].extract(short)) == 1
        texts = kinds["text"]
        with pytest.raises(InputError, match="must say something"):
            texts.embed(["  "])
        with pytest.raises(InputError, match="at most 12 tokens"):
            texts.embed(["dog " * 11])
        together = texts.embed(["the cat sleeps", SENTENCE, "a dog barks"])
        apart = [texts.embed([t])[0] for t in ("the cat sleeps", SENTENCE, "a dog barks")]
        assert np.allclose(together, apart, atol=1e-5)
        assert np.abs(together[0] - together[2]).max() > 1e-3


def test_the_files_are_what_counts(models: Path, tmp_path: Path) -> None:
    """A copy elsewhere is the same model; another weight is another."""
    before = made(models, "clip", "visual")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (models / "clip").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    same = earsight.extractor("clip", model=str(copy))
    assert (same.fingerprint, same.space) == (before.fingerprint, before.space)
    blob = bytearray((copy / "model.safetensors").read_bytes())
    blob[-1] ^= 1
    (copy / "model.safetensors").write_bytes(blob)
    other = earsight.extractor("clip", model=str(copy))
    assert other.fingerprint != before.fingerprint and other.space != before.space


def test_what_a_config_leaves_out_is_the_default(tmp_path: Path) -> None:
    from transformers import CLIPConfig

    for config in ({"model_type": "clip"}, {"model_type": "clip", "projection_dim": 24}):
        (tmp_path / "config.json").write_text(json.dumps(config))
        width = CLIPConfig(**config).projection_dim
        assert hub_models.stated(tmp_path, "projection_dim") == width
        assert hub_models.stated(tmp_path, "text_config", "max_position_embeddings") == 77


def test_a_model_that_is_replaced_is_loaded_again(models: Path, tmp_path: Path) -> None:
    """In one process, as of a server: no vector of the old model under the new fingerprint."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "clip"
    shutil.copytree(models / "clip", folder)
    reader: Any = earsight.extractor("clip", model=str(folder), modality="text")
    before, old = reader.fingerprint, reader.embed([SENTENCE])
    weights = load_file(folder / "model.safetensors")
    changed = {name: weight * 1.5 + 0.1 for name, weight in weights.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    assert reader.fingerprint != before
    assert np.abs(reader.embed([SENTENCE]) - old).max() > 0.01
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 4}))
    with pytest.raises(InputError, match="at most 4 tokens"):
        reader.embed([SENTENCE])


@pytest.mark.parametrize(
    "damage", ["pickle", "shard", "type", "tensor", "rubbish", "settings", "index", "width"]
)
def test_folders_that_are_refused(models: Path, tmp_path: Path, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    for path in (models / "clip").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    match damage:
        case "pickle":
            torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
            weights.unlink()
            message = "a .safetensors file. Weights in a pickle"
        case "shard":
            index = {"weight_map": {"a": "model-2.safetensors"}}
            (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
            message = r"missing: model-2\.safetensors"
        case "type":
            config.write_text(
                config.read_text().replace('"model_type": "clip"', '"model_type": "x"')
            )
            message = "takes a model of the type clip"
        case "tensor":
            tensors = load_file(weights)
            del tensors["visual_projection.weight"]
            save_file(tensors, weights, metadata={"format": "pt"})
            message = r"1 are missing or of another shape, such as visual_projection\.weight"
        case "rubbish":
            weights.write_bytes(b"no tensors at all")
            message = "cannot be loaded as a CLIPModel"
        case "settings":
            config.write_text("{")
            message = "config.json is damaged"
        case "index":
            (tmp_path / "model.safetensors.index.json").write_text("{}")
            message = r"index\.json must say in weight_map"
        case "width":
            kept = json.loads(config.read_text())
            config.write_text(json.dumps(kept | {"projection_dim": "many"}))
            message = r"`projection_dim` in .*config\.json must be a whole number .*; got 'many'"
    picture = make_clip(tmp_path / "clip.mkv", 0.2, audio=False)
    refused = earsight.extractor("clip", model=str(tmp_path))
    with pytest.raises(WeightsError, match=message):
        _ = refused.dim, refused.extract(picture)


def test_a_file_from_the_hub_is_held_to_its_checksum(models: Path, tmp_path: Path) -> None:
    """The hub's cache names a file by the checksum that the hub states for it."""
    snapshot, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir()
    for path in (models / "clip").iterdir():
        large = path.suffix == ".safetensors"
        stated = hub_models.files.sha256(path) if large else hub_models.files.git_blob(path)
        (blobs / stated).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(blobs / stated)
    whole = earsight.extractor("clip", model=str(snapshot))
    assert whole.fingerprint == made(models, "clip", "visual").fingerprint
    for name in ("model.safetensors", "config.json"):
        blob = (snapshot / name).resolve()
        right = blob.read_bytes()
        blob.write_bytes(right + b" ")
        with pytest.raises(WeightsError, match=f"{name} must have the checksum that the hub"):
            _ = whole.fingerprint
        blob.write_bytes(right)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"modality": "audio"}, "must be 'visual', or 'text'|one of visual, text"),
        ({"model": "./nowhere"}, "must be a folder, or a name on the Hugging Face hub"),
        ({"fps": 0}, "`fps` must be above 0"),
    ],
)
def test_mistakes(how: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ = earsight.extractor("clip", **how).fingerprint


def test_windows_that_cannot_be() -> None:
    with pytest.raises(InputError, match="at most 10 s"):
        earsight.extractor("clap", window=11)
    with pytest.raises(InputError, match="above 0 s"):
        earsight.extractor("pe_av", window=0)
    with pytest.raises(InputError, match="read by clip:modality=text"):
        earsight.extractor("clip").embed(["a"])


def test_without_a_network_and_without_the_extra(tmp_path: Path) -> None:
    """The hub is not reached; and where the package is missing, the extra is named."""
    code = (
        "import earsight, sys, importlib.util as u\n"
        "from earsight.errors import EarsightError\n"
        "if sys.argv[1:]: u.find_spec = lambda name: None\n"
        "clip = earsight.extractor('clip', model='nobody/nothing')\n"
        "try: clip.fetch_weights()\n"
        "except EarsightError as error: print(clip.at_hand, error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    for arguments, message in (
        ([], "False The model nobody/nothing cannot be had from the Hugging Face hub: "),
        (["without"], "False This extractor needs transformers"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        assert done.stdout.startswith(message), done.stdout + done.stderr


_FETCH = """
import earsight, sys
from earsight.errors import EarsightError
clip = earsight.extractor("clip", model="somebody/tiny")
print(clip.at_hand)
try:
    clip.fetch_weights()
    print(clip.at_hand, clip.fingerprint)
except EarsightError as error:
    print(error)
"""


@pytest.mark.parametrize("damaged", ["", "model.safetensors", "config.json"])
def test_fetched_from_a_hub(models: Path, tmp_path: Path, damaged: str) -> None:
    """The whole way over HTTP: what is asked for, what is not, and what arrives damaged."""
    repository = tmp_path / "repository"
    shutil.copytree(models / "clip", repository)
    (repository / "pytorch_model.bin").write_bytes(b"a pickle")
    (repository / "modeling_tiny.py").write_text("raise SystemExit('code of others ran')")
    with hub("somebody/tiny", repository, damaged) as site:
        environment = {"HF_ENDPOINT": site.url, "HF_HOME": str(tmp_path / "home"), "PATH": ""}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _FETCH], capture_output=True, text=True, env=environment
        )
    first, _, then = done.stdout.partition("\n")
    assert first == "False", done.stdout + done.stderr
    if damaged:
        assert f"{damaged} must have the checksum that the hub states for it" in then
    else:
        assert then.split() == ["True", made(models, "clip", "visual").fingerprint], done.stderr
    assert not {"pytorch_model.bin", "modeling_tiny.py"} & set(site.asked)
    assert site.asked["model.safetensors"] == 1
    # Without telemetry the hub's client names itself and its own version alone.
    assert not [agent for agent in site.agents if "transformers/" in agent or "torch/" in agent]
