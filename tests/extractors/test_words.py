"""The words bridge by other ears and eyes: who names, into which vectors, under which key."""

from pathlib import Path

import numpy as np
import pytest

import earsight
from _clips import make_clip
from earsight import data
from earsight.errors import InputError
from earsight.extractors import extract_all, minilm, soundnet, words
from earsight.features import FeatureSequence

CLASSES = {
    "yamnet": 521,
    "soundnet_scenes": 401,
    "soundnet_objects": 1000,
    "efficientnet": 1000,
    "i3d": 400,
    "i3d_kinetics": 400,
}


def test_every_namer_can_be_asked_for_and_names_each_class_of_its_source() -> None:
    assert set(words.NAMERS) == set(CLASSES)
    for name, namer in words.NAMERS.items():
        source, head = namer.source()
        field = "ears" if source.modality == "audio" else "eyes"
        kind = earsight.extractor("words", modality=source.modality, **{field: name})
        assert kind.source == (source, head) and kind.modality == source.modality
        assert len(namer.prompted()) == source.dims[head] == CLASSES[name]


def test_names_are_prompted_as_words() -> None:
    places, actions = words.prompted_places(), words.prompted_actions()
    assert places[:2] == ("a photo of a abbey", "a photo of a airfield")
    assert places[9] == "a photo of a apartment building, outdoor"
    assert not any("_" in name or "/" in name for name in places)
    assert actions[0] == "a video of abseiling"


def test_only_what_is_not_the_default_comes_into_the_key() -> None:
    made = [
        words.Words(modality="audio"),
        words.Words(modality="audio", ears="soundnet_scenes"),
        words.Words(modality="visual", eyes="i3d_kinetics"),
        words.Words(modality="text", ears="soundnet_objects", eyes="i3d"),
    ]
    assert [kind.key() for kind in made] == [
        "words.audio",
        "words.audio.soundnet_scenes",
        "words.visual.i3d_kinetics",
        "words.text",
    ]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"modality": "visual", "ears": "soundnet_scenes"}, "`ears` of words has no part in"),
        ({"modality": "audio", "eyes": "i3d"}, "`eyes` of words has no part in modality 'audio'"),
        ({"ears": "i3d"}, r"`ears` of words must be .*yamnet.*soundnet_scenes.*; got 'i3d'"),
        ({"eyes": "yamnet"}, r"`eyes` of words must be .*efficientnet.*; got 'yamnet'"),
    ],
)
def test_ears_do_not_see(how: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        earsight.extractor("words", **how)
    with pytest.raises(InputError, match=said):
        words.Words(**how)  # type: ignore[arg-type]


def test_a_variant_is_the_softmax_of_its_source_times_the_names(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "tone.wav", 14.0, rate=22_050)
    kind = words.Words(modality="audio", ears="soundnet_scenes")
    scenes = soundnet.SoundNet(layer="scenes")
    found, _ = extract_all(clip, [kind, scenes])
    z = found["soundnet.scenes"].values.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    names = minilm.MiniLM().embed(words.prompted_places())
    mine = found["words.audio.soundnet_scenes"]
    np.testing.assert_allclose(mine.values, p @ names, atol=1e-6)
    assert np.array_equal(mine.times, found["soundnet.scenes"].times) and mine.weights is None
    np.testing.assert_allclose(kind.prior, names.mean(axis=0), atol=1e-6)


def test_a_window_that_is_cut_short_counts_for_its_part() -> None:
    weights = np.array([1.0, 0.25], dtype=np.float32)
    logits = np.zeros((2, 400), dtype=np.float32)
    logits[1, data.kinetics_names().index("playing cricket")] = 50
    given = FeatureSequence(logits, np.array([1.0, 3.0]), 2.56, weights)
    mine = words.Words(modality="visual", eyes="i3d_kinetics")._derive(given)
    assert np.array_equal(mine.weights, weights)
    cricket = minilm.MiniLM().embed(["a video of playing cricket"])[0]
    np.testing.assert_allclose(mine.values[1], cricket, atol=1e-6)


def test_a_text_lies_midway_between_those_who_name() -> None:
    text = words.Words(modality="text", ears="soundnet_objects", eyes="i3d")
    means = [words.name_vectors(name).mean(axis=0) for name in ("soundnet_objects", "i3d")]
    np.testing.assert_allclose(text.prior, np.mean(means, axis=0), atol=1e-7)
    assert not np.allclose(text.prior, words.Words(modality="text").prior)
