"""Texts and the words bridge: reference vectors, the recipe in slow form, real clips."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import earsight
from _real_clips import CLIPS, clips_needed
from earsight import data
from earsight.errors import InputError
from earsight.extractors import efficientnet, extract_all, minilm, words, yamnet

# MiniLM


def test_minilm_gives_the_reference_implementation_s_numbers() -> None:
    """First four numbers by transformers 5.23.0, padded in one batch, mean with mask, unit."""
    reference = {
        "a dog barking": [0.023197, -0.015960, 0.043166, 0.076520],
        "the sound of dog": [-0.042159, -0.057105, 0.033858, 0.035235],
        "piano": [-0.019186, -0.033108, 0.025603, -0.001554],
        "This is a test, with several words.": [0.074734, 0.002857, -0.013891, 0.043646],
    }
    vectors = minilm.MiniLM().embed(list(reference))
    np.testing.assert_allclose(vectors[:, :4], list(reference.values()), atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_s_vector_does_not_depend_on_its_neighbours() -> None:
    texts = [f"{n} {'very ' * (n % 5)}loud dogs" for n in range(70)]
    encoder = minilm.MiniLM()
    together = encoder.embed(texts)
    alone = np.concatenate([encoder.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert encoder.embed([]).shape == (0, 384)


def test_no_text_is_cut_in_silence() -> None:
    encoder = minilm.MiniLM()
    assert encoder.embed(["dog " * 254]).shape == (1, 384)  # and two tokens around it
    with pytest.raises(InputError, match=r"at most 256 tokens, about 180 words; got 257"):
        encoder.embed(["short", "dog " * 255])
    with pytest.raises(InputError, match="must say something"):
        encoder.embed([" \n"])


def test_a_text_that_is_not_utf_8_is_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_bytes(b"\xff\xfe\x00")
    found, report = extract_all(tmp_path / "note.txt", [minilm.MiniLM()])
    assert found == {} and report.status == "unreadable"
    assert "cannot be read as UTF-8" in report.message


# Words


def test_words_pool_to_the_recipe_s_clip_vector() -> None:
    rng = np.random.default_rng(5)
    s = rng.uniform(0, 1, (7, 521)).astype(np.float32) ** 8
    names = rng.normal(size=(521, 4))
    classes, mass = words.heard(s)
    step = classes @ names

    quiet = s.astype(np.float64)
    generic = {"Speech", "Music", "Animal", "Vehicle", "Musical instrument",
               "Domestic animals, pets", "Wild animals"}  # fmt: skip
    quiet[:, [name in generic for name in data.audioset_names()]] = 0
    score = np.mean([row * row.max() for row in quiet], axis=0)
    np.testing.assert_allclose((mass @ step) / mass.sum(), score / score.sum() @ names, atol=1e-6)

    z = rng.normal(0, 5, (3, 1000)).astype(np.float32)
    p = np.exp(z.astype(np.float64) / 2.5)
    np.testing.assert_allclose(words.seen(z)[0], p / p.sum(axis=1, keepdims=True), atol=1e-7)


def test_a_step_in_which_only_generic_things_are_heard_weighs_nothing() -> None:
    s = np.zeros((1, 521), dtype=np.float32)
    s[0, data.audioset_names().index("Speech")] = 0.9
    classes, mass = words.heard(s)
    assert not classes.any() and mass.tolist() == [0.0]


@pytest.mark.parametrize(
    "make", [words.Words, lambda **kw: earsight.extractor("words", **kw)], ids=["class", "name"]
)
def test_words_serve_three_modalities(make: Callable[..., words.Words]) -> None:
    assert [make(modality=m).key() for m in ("audio", "visual", "text")] == [
        "words.audio",
        "words.visual",
        "words.text",
    ]
    with pytest.raises(InputError, match=r"`modality` of words must be .*audio.*; got 'smell'"):
        make(modality="smell")


def test_names_are_prompted_in_the_order_of_the_networks() -> None:
    assert words.prompted_sounds()[:2] == (
        "the sound of Speech", "the sound of Child speech, kid speaking",
    )  # fmt: skip
    assert words.prompted_sights()[0] == "a photo of a tench"
    assert len(words.prompted_sounds()) == 521 and len(words.prompted_sights()) == 1000


def test_priors_are_the_means_of_the_names() -> None:
    sound, sight, text = (words.Words(modality=m).prior for m in ("audio", "visual", "text"))
    expected = minilm.MiniLM().embed(words.prompted_sounds()).mean(axis=0)
    np.testing.assert_allclose(sound, expected, atol=1e-6)
    np.testing.assert_allclose(text, (sound + sight) / 2, atol=1e-7)


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    hits = relevant[np.argsort(-scores)]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


@pytest.fixture(scope="module")
def bridge() -> dict[str, np.ndarray]:
    """Word vectors of the ten clips, centred by the prior alone, unit length."""
    kinds = [words.Words(modality="audio"), words.Words(modality="visual")]
    found = [extract_all(clip, kinds)[0] for clip in CLIPS]
    means = {k.modality: np.stack([f[k.key()].mean() for f in found]) - k.prior for k in kinds}
    return {m: x / np.linalg.norm(x, axis=1, keepdims=True) for m, x in means.items()}


@clips_needed
@pytest.mark.parametrize(("query", "gallery"), [("audio", "visual"), ("visual", "audio")])
def test_words_find_the_other_half_of_real_clips(
    bridge: dict[str, np.ndarray], query: str, gallery: str
) -> None:
    """Median rank of the own half at most 2, MAP by class at least .80, both ways."""
    classes = np.array([clip.parent.name for clip in CLIPS])
    similarity = bridge[query] @ bridge[gallery].T
    ranks = [1 + int((row > row[i]).sum()) for i, row in enumerate(similarity)]
    ap = [average_precision(row, classes == classes[i]) for i, row in enumerate(similarity)]
    assert np.median(ranks) <= 2
    assert np.mean(ap) >= 0.80


@clips_needed
@pytest.mark.parametrize(("text", "wanted"), [("dog barking", "dog"), ("drums", "drum")])
def test_typed_words_find_both_sounds_and_sights(
    bridge: dict[str, np.ndarray], text: str, wanted: str
) -> None:
    vector = minilm.MiniLM().embed([text])[0] - words.Words(modality="text").prior
    for modality in ("audio", "visual"):
        best = np.argsort(-(bridge[modality] @ vector))[:2]
        assert wanted in {CLIPS[i].parent.name for i in best}, modality


def test_one_pass_runs_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    if not CLIPS:
        pytest.skip("The ten real clips of shared/data are not here")
    opened: list[str] = []
    for kind in (yamnet.YAMNet, efficientnet.EfficientNet):
        session = kind._session
        monkeypatch.setattr(
            kind, "_session", lambda self, s=session: opened.append(self.name) or s(self)
        )
    sound, sight = words.Words(modality="audio"), words.Words(modality="visual")
    kinds = [yamnet.YAMNet(), efficientnet.EfficientNet(), sound, sight]
    found, report = extract_all(CLIPS[0], kinds)
    assert sorted(opened) == ["efficientnet", "yamnet"]
    assert list(found) == ["yamnet", "yamnet.scores", "efficientnet", "efficientnet.scores",
                           "words.audio", "words.visual"]  # fmt: skip
    assert report.status == "ok" and report.audio_seconds > 5
    assert np.array_equal(found["words.audio"].times, found["yamnet"].times)
    assert np.array_equal(found["words.audio"].values, sound.extract(CLIPS[0]).values)
