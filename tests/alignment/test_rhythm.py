"""Whose sight caused this sound: heights against the slow way, and the right one comes first."""

import numpy as np
import pytest

from earsight.alignment import rhythm
from earsight.errors import InputError
from earsight.features import FeatureSequence

Side = FeatureSequence


def side(values: np.ndarray, start: float = 0.0) -> Side:
    times = start + np.arange(len(values)) / rhythm.RATE
    return FeatureSequence(values.astype(np.float32), times, 1 / rhythm.RATE)


def sides(seed: int, lengths: list[int], width: int) -> list[Side]:
    rng = np.random.default_rng(seed)
    starts = rng.integers(-6, 7, len(lengths)) / rhythm.RATE
    return [side(rng.random((n, width)), s) for n, s in zip(lengths, starts, strict=True)]


def slow(sound: Side, sight: Side, reach: int) -> np.ndarray:
    """(4, lags): written down step by step."""
    heights = np.zeros((4, 2 * reach + 1))
    at = {round(t * rhythm.RATE): k for k, t in enumerate(sight.times)}
    for kind, channel in enumerate(rhythm.HEARD):
        a = sound.values[:, channel] - sound.values[:, channel].mean()
        for row, lag in enumerate(range(-reach, reach + 1)):
            each = []
            for block in range(8 * kind, 8 * kind + 8):
                v = sight.values[:, block] - sight.values[:, block].mean()
                met = 0.0
                for k, t in enumerate(sound.times):
                    partner = at.get(round(t * rhythm.RATE) - lag)
                    met += a[k] * v[partner] if partner is not None else 0.0
                each.append(met / np.sqrt((a**2).sum() * (v**2).sum()))
            heights[kind, row] = np.sort(each)[-3:].mean()
    return heights


def test_heights_and_offsets_are_those_of_the_slow_way() -> None:
    sounds, sights = sides(0, [40, 55, 31], 2), sides(1, [44, 60, 25, 38], 32)
    found = rhythm.fits(sounds, sights, reach=0.2)
    for i, sound in enumerate(sounds):
        for j, sight in enumerate(sights):
            expected = slow(sound, sight, 5)
            assert found.heights[:, i, j] == pytest.approx(expected.max(axis=1), abs=1e-5)
            lag = expected.sum(axis=0).argmax() - 5
            assert found.offsets[i, j] == pytest.approx(lag / rhythm.RATE)


def test_who_stands_above_the_others_is_told_by_them_and_not_by_the_pair_itself() -> None:
    rng = np.random.default_rng(2)
    heights, others = rng.random((4, 3)), rng.random((4, 6, 3))
    use = rng.random((6, 3)) < 0.7
    expected = np.zeros(3)
    for kind in range(4):
        usual = np.mean([others[kind, m, j] for m in range(6) for j in range(3) if use[m, j]])
        means, squares = [], []
        for j in range(3):
            mine = [others[kind, m, j] for m in range(6) if use[m, j]]
            means.append((sum(mine) + 4 * usual) / (len(mine) + 4))
            squares += [(x - means[-1]) ** 2 for x in mine]
        expected += (heights[kind] - means) / np.sqrt(np.mean(squares)) / 4
    assert rhythm.stand_out(heights, others, use) == pytest.approx(expected)
    spoiled = np.where(use, others, 1e6)  # what is not in use does not count
    assert rhythm.stand_out(heights, spoiled, use) == pytest.approx(expected)
    nobody = rhythm.stand_out(heights, others[:, :0])
    assert nobody == pytest.approx(heights.mean(axis=0) / 0.1)


def events(seed: int, seconds: float, width: int, where: int, late: float = 0.0) -> np.ndarray:
    """Extractor's values at 50 steps a second: events at random, in columns from `where`."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.25, 0.9, 40))
    steps = np.arange(round(seconds * 50)) / 50
    values = 0.05 * np.random.default_rng(seed + 1000).random((len(steps), width))
    shape = np.exp(-0.5 * ((steps[:, None] - times - late) / 0.04) ** 2).sum(axis=1)
    values[:, where : where + 3] += shape[:, None]
    return values


def extracted(values: np.ndarray) -> Side:
    return FeatureSequence(values.astype(np.float32), np.arange(len(values)) / 50, 1 / 50)


def test_each_sound_finds_its_sight_although_it_comes_late() -> None:
    sounds = [rhythm.heard(extracted(events(k, 8.0, 16, 0, late=0.24))) for k in range(8)]
    whole = [np.hstack([events(k, 8.0, 64, 7) for _ in range(6)]) for k in range(8)]
    sights = [rhythm.seen(extracted(values)) for values in whole]
    found = rhythm.fits(sounds, sights)
    for k in range(8):
        rest = [i for i in range(8) if i != k]
        use = np.array([[i != j for j in range(8)] for i in rest])
        scores = rhythm.stand_out(found.heights[:, k], found.heights[:, rest], use)
        assert scores.argmax() == k
        assert found.offsets[k, k] == pytest.approx(0.24, abs=0.041)


def test_what_does_not_vary_fits_nothing() -> None:
    flat = rhythm.heard(extracted(np.full((100, 16), 3.0)))
    still = rhythm.seen(extracted(np.full((100, 384), -1.0)))
    found = rhythm.fits([flat], sides(3, [50], 32))
    assert not found.heights.any()
    assert not rhythm.fits(sides(3, [50], 2), [still]).heights.any()


def test_parts_are_counted_from_their_start() -> None:
    whole = side(np.arange(50.0)[:, None] * np.ones((1, 2)), start=0.04)
    cut = rhythm.part(whole, 0.4, 0.4, margin=0.08)
    assert cut.times == pytest.approx(np.arange(-2, 12) / 25)
    assert cut.values[2, 0] == whole.values[9, 0]  # what lay at 0.4 s lies at 0
    assert len(rhythm.part(side(np.zeros((2000, 2))), 0.0, 99.0)) == 60 * 25


def test_what_cannot_be_compared_is_refused() -> None:
    sounds, sights = sides(4, [30], 2), sides(5, [30], 32)
    with pytest.raises(InputError, match="`reach` must be above 0, in seconds; got -1"):
        rhythm.fits(sounds, sights, reach=-1)
    with pytest.raises(InputError, match="at least one sound and one sight"):
        rhythm.fits([], sights)
    with pytest.raises(InputError, match="the 32 values a step of `seen`; got 2"):
        rhythm.fits(sounds, sounds)
    with pytest.raises(InputError, match="at least one step; got an empty `heard`"):
        rhythm.fits([rhythm.part(sounds[0], 9.0, 1.0)], sights)
    with pytest.raises(InputError, match="the 16 values a step of `onsets`; got 3"):
        rhythm.heard(extracted(np.zeros((9, 3))))
    with pytest.raises(InputError, match="the 384 values a step of `motion`; got 3"):
        rhythm.seen(extracted(np.zeros((9, 3))))
