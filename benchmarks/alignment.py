"""Offsets put in on purpose, found again: on drawn clips, whose truth is known, and on real ones.

Drawn clips (seven classes of events, a seed that no default was chosen on) with noise added to the
sound at several levels; both streams are cut so that no silence betrays the shift. Real clips: the
same cuts on every clip of a folder; their own offset counts as 0, though nobody knows it (sound of
a firework a hundred metres away *is* late by 300 ms). Mismatched: each clip's sound against every
other clip's sight; whatever is answered there is wrong. Baseline: the plain correlation of log
energy with the global frame difference. Shifts are whole steps of 20 ms. Drawn clips are too easy
to be a headline, and ten real clips decide little: intervals are a bootstrap over clips.

Two of the real clips are fireworks, whose sound does come late. By how much was read by hand, as
`HEARD_LATE` says; the same figure is given against that reading, too. Aims go by the plain one.

Further off than what is looked for: true shifts of 1.3 to 3 s where 1 s is looked for. Whatever is
answered there is wrong. Fireworks are left out of it, late as they are by themselves. Drawn clips
last 3 to 4 s, so three of a class in a row make one here.

What was looked at for choices: the ten estimates and eight of them as enough were taken from
measurements on 29 real clips, these ten probably among them; how they are placed from frame to
frame, the two gates (no rival, other orders of the sound's pieces), and how far beyond what is
asked for is looked, from drawn clips of seed 7; the third gate (no beat on both sides) from drawn
clips of seeds 7 and 31 to 39, without noise.

    python benchmarks/alignment.py [--clips FOLDER] [--per-class 5] [--out build/benchmarks]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from _harness import Aim, report, sized
from earsight.alignment.lags import correlations
from earsight.alignment.offset import BANDS, BLOCKS, N_KINDS, RATE, estimate, peak, smoothed
from earsight.demo import draw
from earsight.extractors import extract_all
from earsight.extractors.motion import Motion
from earsight.extractors.onsets import Onsets
from earsight.features import FeatureSequence
from earsight.media import AudioBlock, Decoder

CLIPS = Path("../shared/data/clips")
EVENTS = ("ball", "bird", "drum", "fireworks", "guitar", "hammer", "telephone")
SEED, SHIFTS = 2026, 4
LOOKED_FOR, FURTHER = 1.0, (1.3, 3.0)  # seconds
FURTHER_OFF = "off by 1.3 to 3 s where 1 s is looked for, yet answered"
NOISE = {"none": None, "20 dB": 20.0, "10 dB": 10.0, "0 dB": 0.0}
FRAME = 1001 / 30000  # seconds
HEARD_LATE = {
    # (frame that shows a flash first, second at which its bang begins). Frames were looked at one
    # by one. The first clip has four bursts; of the second all flashes that light the whole frame
    # (its mean rises by 8 of 255 or more) but two that follow another within 0.17 s, whose bangs
    # cannot be told apart. A bang begins where the power, in steps of 5 ms, rises by 7 dB above the
    # 40 ms before. The delays are alike, 0.30–0.33 s and 0.34–0.39 s: 105 and 127 metres.
    "video_02997.mp4": ((24, 1.115), (60, 2.305), (146, 5.170), (234, 8.135)),
    "video_03051.mp4": (
        (9, 0.665), (15, 0.850), (41, 1.745), (51, 2.045), (72, 2.785), (100, 3.680),
        (107, 3.955), (127, 4.615), (176, 6.245), (196, 6.930), (211, 7.400), (275, 9.560),
    ),
}  # fmt: skip
Pair = tuple[str, FeatureSequence, FeatureSequence]


def sequences(path: Path, noise: float | None, seed: int) -> Pair | None:
    """Return a clip's onsets and motion, noise added to the sound at a ratio in dB."""
    found, _ = extract_all(path, [Onsets(), Motion()])
    if set(found) != {"onsets", "motion"}:
        return None
    if noise is not None:
        found["onsets"] = noisy(path, noise, seed)
    return str(path), found["onsets"], found["motion"]


def noisy(path: Path, ratio: float, seed: int) -> FeatureSequence:
    kind = Onsets()
    blocks = [b for b in Decoder(path, audio=[kind.needs]) if isinstance(b, AudioBlock)]
    power = np.mean(np.concatenate([b.samples for b in blocks]) ** 2)
    rng, session = np.random.default_rng(seed), kind._session()
    for block in blocks:
        hiss = rng.normal(0, np.sqrt(power / 10 ** (ratio / 10)), len(block.samples))
        session.feed(AudioBlock(block.rate, block.start, (block.samples + hiss).astype(np.float32)))
    return session.close()["embedding"]


def cut(sequence: FeatureSequence, start: float, end: float) -> FeatureSequence:
    part = sequence.between(start - 1e-9, end - 1e-9)
    return FeatureSequence(part.values, part.times - start, part.span)


def shifted(pair: Pair, shift: float) -> tuple[FeatureSequence, FeatureSequence]:
    """Return both sides, of one length, with the sound late by `shift` seconds."""
    _, sound, sight = pair
    end = min(sound.times[-1], sight.times[-1])
    low, high = max(0.0, shift) + 0.06, min(end, end + shift) - 0.06
    low = round(low * RATE) / RATE
    return cut(sound, low - shift, high - shift), cut(sight, low, high)


def baseline(sound: FeatureSequence, sight: FeatureSequence, reach: float) -> float:
    """Return where log energy and the global frame difference correlate most."""
    energy = smoothed(sound.values[:, BANDS:]).mean(axis=1, keepdims=True)
    motion = smoothed(sight.values[:, :BLOCKS]).mean(axis=1, keepdims=True)
    steps = round(reach * RATE)
    return peak(correlations(energy, motion, steps)[:, 0, 0], np.arange(-steps, steps + 1) / RATE)


def trials(
    pairs: list[Pair], most: float, reach: float
) -> Iterator[tuple[str, float, float, bool]]:
    """Yield clip, error of ours, error of the baseline, and whether ours answers."""
    rng = np.random.default_rng(SEED)
    for pair in pairs:
        for _ in range(SHIFTS):
            shift = round(rng.uniform(-most, most) * RATE) / RATE
            sound, sight = shifted(pair, shift)
            found = estimate(sound, sight, reach=reach)
            plain = baseline(sound, sight, reach) - shift
            yield pair[0], found.best - shift, plain, found.seconds is not None


def drawn(per_class: int) -> tuple[list[list[str]], str]:
    """Return the rows of the table, and how often what is further off is answered."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), per_class=3 * per_class, seed=SEED)
        every = [sorted(Path(folder, label).glob("*.mp4")) for label in EVENTS]
        paths = [path for some in every for path in some[:per_class]]
        for name, ratio in NOISE.items():
            made = [sequences(path, ratio, seed) for seed, path in enumerate(paths)]
            found = list(trials([pair for pair in made if pair], 1.0, 1.5))
            ours, plain = (np.abs([one[i] for one in found]) for i in (1, 2))
            answered = np.array([one[3] for one in found])
            rows.append([name, f"{len(found)}", f"{answered.mean():.2f}", *spread(ours[answered]),
                         *spread(ours), *spread(plain)])  # fmt: skip
        whole = [[sequences(path, None, 0) for path in some] for some in every]
        long = [one for some in whole for one in in_a_row([pair for pair in some if pair])]
    return rows, beyond(long)


def late(clip: str) -> float:
    """Return by how many seconds the sound of a clip is late by itself, where that was read."""
    read = HEARD_LATE.get(Path(clip).name, ((0, 0.0),))
    return float(np.median([bang - FRAME * flash for flash, bang in read]))


def in_a_row(pairs: Sequence[Pair], n: int = 3) -> list[Pair]:
    """Return every n clips as one recording, named after the first."""
    made = []
    for start in range(0, len(pairs) - n + 1, n):
        parts = [_both(pair) for pair in pairs[start : start + n]]
        values = [np.concatenate(side) for side in zip(*parts, strict=True)]
        times = np.arange(len(values[0])) / RATE
        sound, sight = (FeatureSequence(side, times, 1 / RATE) for side in values)
        made.append((pairs[start][0], sound, sight))
    return made


def _both(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of both sides while both last."""
    _, sound, sight = pair
    begin, end = (f(sound.times[k], sight.times[k]) for f, k in ((max, 0), (min, -1)))
    first, second = (one.between(begin - 1e-6, end + 1e-6).values for one in (sound, sight))
    return first, second


def beyond(pairs: Sequence[Pair]) -> str:
    """Return the share of trials that are answered although the shift is more than looked for."""
    rng = np.random.default_rng(SEED)
    clips, answered = [], []
    for pair in pairs:
        for _ in range(SHIFTS):
            shift = round(rng.choice([-1, 1]) * rng.uniform(*FURTHER) * RATE) / RATE
            answered.append(estimate(*shifted(pair, shift), reach=LOOKED_FOR).seconds is not None)
            clips.append(pair[0])
    return f"{interval(np.array(answered), np.array(clips))} of {len(answered)}"


def spread(errors: np.ndarray) -> tuple[str, str]:
    return f"{1000 * np.median(errors):.0f} ms", f"{np.mean(errors <= 0.04):.2f}"


def interval(values: np.ndarray, clips: np.ndarray) -> str:
    """Return a mean with its 95 % interval, resampling clips."""
    rng = np.random.default_rng(0)
    names = np.unique(clips)
    sums = np.array([values[clips == name].sum() for name in names])
    counts = np.array([(clips == name).sum() for name in names])
    drawn_clips = rng.integers(len(names), size=(2000, len(names)))
    total = counts[drawn_clips].sum(axis=1)
    means = sums[drawn_clips].sum(axis=1)[total > 0] / total[total > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{sums.sum() / max(counts.sum(), 1):.2f} ({low:.2f}–{high:.2f})"


def real(folder: Path) -> tuple[dict[str, str], list[Aim]]:
    made = [sequences(path, None, 0) for path in sorted(folder.glob("*/*")) if path.is_file()]
    pairs = [pair for pair in made if pair]
    found = list(trials(pairs, 2.0, 2.5))
    clips = np.array([one[0] for one in found])
    ours, plain = (np.abs([one[i] for one in found]) for i in (1, 2))
    answered = np.array([one[3] for one in found])
    read = np.abs([one[1] - late(one[0]) for one in found])
    far = np.array([Path(clip).name in HEARD_LATE for clip in clips])
    wrong = np.array([
        [i, estimate(a[1], b[2]).seconds is not None]
        for i, a in enumerate(pairs) for b in pairs if a is not b
    ])  # fmt: skip
    close = answered & ~far
    rows: list[tuple[str, np.ndarray, np.ndarray, float | None]] = [
        ("within 200 ms, all clips", ours <= 0.2, clips, 0.6),
        ("within 100 ms, all clips", ours <= 0.1, clips, 0.4),
        ("answered", answered, clips, 0.4),
        ("of answered, within 200 ms", ours[answered] <= 0.2, clips[answered], 0.85),
        ("of answered without fireworks, within 200 ms", ours[close] <= 0.2, clips[close], None),
        (
            "of answered, within 200 ms, fireworks as late as read",
            *(read[answered] <= 0.2, clips[answered], None),
        ),
        (
            "of answered, within 100 ms, fireworks as late as read",
            *(read[answered] <= 0.1, clips[answered], None),
        ),
        ("mismatched, yet answered", wrong[:, 1], wrong[:, 0], 0.05),
    ]
    on_time = [pair for pair in pairs if Path(pair[0]).name not in HEARD_LATE]
    facts, aims = {f"real clips without fireworks, {FURTHER_OFF}": beyond(on_time)}, []
    facts["real clips, how late fireworks are"] = "read by hand, as HEARD_LATE in the script lists"
    for name, values, of, limit in rows:
        told = interval(values, of)
        if limit is not None and len(values):
            more, between = name != "mismatched, yet answered", told.partition(" ")[2]
            aims.append(Aim(f"real clips, {name} {between}", limit, float(values.mean()), more))
        else:
            facts[f"real clips, {name}"] = told
    for within in (0.2, 0.1):
        facts[f"real clips, within {1000 * within:.0f} ms, all clips, baseline"] = interval(
            plain <= within, clips
        )
    return facts, aims


def cost() -> float:
    """Return the median milliseconds of all estimates at 251 lags, for 10 s."""
    rng = np.random.default_rng(0)
    times = np.arange(500) / RATE
    sound = FeatureSequence(rng.random((500, 2 * BANDS)).astype(np.float32), times)
    sight = FeatureSequence(rng.random((500, N_KINDS * BLOCKS)).astype(np.float32), times)
    taken = []
    for _ in range(9):
        begun = time.perf_counter()
        estimate(sound, sight)
        taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--per-class", type=int, default=sized(5, 1))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    columns = ("trials", "answered", "median error", "within 40 ms", "all: median error",
               "all: within 40 ms", "baseline: median error", "baseline: within 40 ms")  # fmt: skip
    results, errors = {}, []
    rows, further = drawn(options.per_class)
    for name, *cells in rows:
        row = dict(zip(columns, cells, strict=True))
        results[f"drawn, noise {name}"] = row
        median, within = float(row["median error"].split()[0]), float(row["within 40 ms"])
        errors.append((median, within))
    medians, shares = zip(*errors, strict=True)
    aims = [
        Aim("drawn, answered: median error in ms, the largest", 20, max(medians)),
        Aim("drawn, answered: within 40 ms, the least", 0.95, min(shares), True),
    ]
    facts = {
        f"drawn clips, {FURTHER_OFF}": further,
        "milliseconds for all estimates at 251 lags of 10 s": f"{cost():.1f}",
    }
    if options.clips.is_dir():
        told, wished = real(options.clips)
        facts, aims = facts | told, aims + wished
    else:
        facts["real clips"] = f"not measured: there is no folder {options.clips.name}"
    title = "offsets between sound and sight, put in on purpose"
    report(title, results, options.out / "alignment.json", aims=aims, **facts)


if __name__ == "__main__":
    main()
