"""Right class, right second: clips joined into recordings of 10 and of 60 minutes, and searched.

Drawn clips of ten classes (3 to 4 s, a seed that nothing was chosen on) and the real clips of a
folder, 10 s each, in random order. Each clip asks, by its sound for sights and by its sight for
sounds; its own place in the recording and all that the smoothing draws from there is taken out. A
moment is right if its middle lies in another clip of the query's class. Ten minutes are a media
file, encoded, indexed and asked through `Library.timeline`: alone, and in a folder with a
hundred other drawn clips by class, from which the library learns what stands beside the words. An
hour is joined from the sequences of its clips, to spare its encoding; so are ten minutes once more,
to show what difference that makes. Of the hour's further clips only the frames that the networks
look at are painted, two a second. Baselines on the joined seconds: vectors as they are (no
centring), each second by itself (no smoothing), and chance. Intervals: 95 % of a bootstrap over
clips. The recipe (words, centred, 5 s) was given before these clips were seen; nothing was tuned on
them.

Aims: right class first .70, among the first five .85, of each direction; an hour scanned in 10 ms.
Speed: hours in memory, then whole questions to open libraries of made-up vectors.

    python benchmarks/moments.py [--clips FOLDER] [--hour 100] [--out build/benchmarks]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import earsight
from _growth import grow
from _harness import Aim, Task, report, sized
from _recordings import ROLES, SIDES, Clip, film, joined, read, sketch, starts
from _synthetic import synthetic_library
from earsight.arrays import unit_rows
from earsight.demo import draw
from earsight.demo.scenes import LABELS
from earsight.library.build import index
from earsight.library.learn import fit_bridge
from earsight.library.moments import best_peaks
from earsight.library.seconds import AROUND, Block, n_seconds, pooled
from earsight.library.settings import Settings
from earsight.library.sources import Sources, spans
from earsight.library.space import Space
from earsight.library.strangers import Stranger

CLIPS = Path("../shared/data/clips")
RECORDING = "recording.mp4"
SEED = 2026
TAUGHT = sized(10, 1)  # labelled clips of each drawn class, none of them in a recording
DIRECTIONS = {"audio": "sound to sight", "visual": "sight to sound"}
PLACES = {"first": 0.70, "first five": 0.85}  # at which a right moment comes -> what is aimed at
Table = dict[str, dict[str, str]]
Curves = Mapping[str, np.ndarray]  # side that asks -> (queries, seconds), −inf where nothing is


def through_the_library(clips: Sequence[Clip], folder: Path) -> tuple[Curves, Space]:
    """Index a folder that holds a recording, and ask it by each clip's sound and sight.

    Returns:
        The curves, and the space that answered.
    """
    index(folder)
    curves: dict[str, list[np.ndarray]] = {side: [] for side in SIDES}
    with earsight.Library(folder) as library:
        space = library.opened().space
        (recording,) = library.clips(name=RECORDING)
        for number, clip in enumerate(clips):
            means = {role: one.mean()[None, :] for role, one in clip.sequences.items()}
            asked = Stranger(clip.path.name, str(number), means)
            for side, other in SIDES.items():
                found = library.timeline(recording.id, asked, by=side, for_=other)
                curves[side].append(found.scores)
    whole = {side: np.nan_to_num(np.stack(own), nan=-np.inf) for side, own in curves.items()}
    return whole, space


def bridge(clips: Sequence[Clip], sources: Sources) -> Space:
    """Return the space of a library that holds nothing but the recording."""
    whole, cuts = joined(clips), spans(starts(clips)[-1])
    views = {
        side: np.stack([whole[role].between(*cut).mean() for cut in cuts])
        for side, role in ROLES.items()
    }
    return Space(fit_bridge(views, sources))


def from_sequences(clips: Sequence[Clip], space: Space | None, around: int = AROUND) -> Curves:
    """Return what a library of the joined sequences answers; None: vectors as they are."""
    whole, n = joined(clips), n_seconds(starts(clips)[-1])
    points: dict[str, np.ndarray] = {}
    queries: dict[str, np.ndarray] = {}
    for side, role in ROLES.items():
        seconds = {r: pooled(whole[r], n, around) for r in (role, side)}
        asked = {r: np.stack([clip.sequences[r].mean() for clip in clips]) for r in (role, side)}
        values = {r: x for r, (x, _) in seconds.items()}
        here = np.logical_and.reduce([flags for _, flags in seconds.values()])
        at, by = (
            unit_rows(one[role]) if space is None else space.embed(side, one)
            for one in (values, asked)
        )
        points[side], queries[side] = np.where(here[:, None], at, np.nan), by
    made = {side: queries[side] @ points[other].T for side, other in SIDES.items()}
    return {side: np.where(np.isnan(own), -np.inf, own) for side, own in made.items()}


@dataclass(frozen=True)
class Found:
    """Whether a moment of the query's class is the first, and among the first five; by chance."""

    right: np.ndarray  # (queries, 2)
    chance: np.ndarray  # (queries, 2)
    asking: np.ndarray  # (queries,) the clips


def judged(curves: np.ndarray, clips: Sequence[Clip]) -> Found:
    """Look for the five best moments of each query that has another clip of its class."""
    begin = starts(clips)
    labels = np.array([clip.label for clip in clips])
    middle = np.arange(curves.shape[1]) + 0.5
    under = np.searchsorted(begin[1:-1], middle, "right")  # the clip that each second shows
    right, chance, asking = [], [], []
    for number, curve in enumerate(curves):
        others = labels == labels[number]
        others[number] = False
        if not others.any():
            continue
        own = (middle > begin[number] - AROUND / 2) & (middle < begin[number + 1] + AROUND / 2)
        scores = np.where(own, -np.inf, curve)
        hits = [
            others[np.searchsorted(begin[1:-1], (one.start + one.end) / 2, "right")]
            for one in best_peaks(scores, np.array([0, len(scores)]), 5)
        ]
        share = others[under[~own]].mean()
        right.append((any(hits[:1]), any(hits)))
        chance.append((share, 1 - (1 - share) ** 5))
        asking.append(number)
    return Found(np.array(right, float), np.array(chance), np.array(asking))


def interval(values: np.ndarray) -> str:
    """Return a mean over clips with its 95 % interval."""
    if not len(values):
        return "-"
    drawn = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():.2f} ({low:.2f}–{high:.2f})"


@dataclass
class Told:
    """What was found: the rows of the table, the aims, and what else should be known."""

    table: Table
    aims: list[Aim]
    facts: dict[str, object]

    def add(self, name: str, curves: Curves, clips: Sequence[Clip], *, whole: bool = False) -> None:
        """Add the row of one contender; of a whole library also by who asks, chance and aims."""
        found = {side: judged(own, clips) for side, own in curves.items()}
        self.table[name] = cells({side: one.right for side, one in found.items()})
        if not whole:
            return
        real = np.array([clip.real for clip in clips])
        for who, these in (("real", real), ("drawn", ~real)):
            ours = {side: one.right[these[one.asking]] for side, one in found.items()}
            if n := len(ours["audio"]):
                self.table[f"{name}, asked by the {n} {who} clips alone"] = cells(ours)
        chance = f"{name.partition(',')[0]}: chance"
        self.table[chance] = cells({side: one.chance for side, one in found.items()})
        for side, one in found.items():
            for place, (at, aim) in enumerate(PLACES.items()):
                told = f"{name}, {DIRECTIONS[side]}, {at}"
                self.aims.append(Aim(told, aim, float(one.right[:, place].mean()), at_least=True))
        labels = np.array([clip.label for clip in clips])
        both = [(labels[one.asking], one.right[:, 0]) for one in found.values()]
        kinds = {label: [r[of == label] for of, r in both] for label in sorted({*labels[~real]})}
        self.facts[f"{name}, first, by class, both directions"] = ", ".join(
            f"{label} " + " and ".join(f"{right.mean():.2f}" for right in ways if len(right))
            for label, ways in kinds.items()
        )


def cells(values: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {
        f"{DIRECTIONS[side]}, {at}": interval(own[:, place])
        for side, own in values.items()
        for place, at in enumerate(PLACES)
    }


def as_files(told: Told, clips: Sequence[Clip], length: str) -> Space:
    """Ask a recording that is a media file; return the space that was learned."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film(clips, folder / RECORDING)
        curves, _ = through_the_library(clips, folder)
        told.add(f"{length}, a media file", curves, clips, whole=True)
        draw(folder / "taught", per_class=TAUGHT, seed=SEED + 1)
        (folder / RECORDING).rename(folder / "taught" / RECORDING)
        curves, space = through_the_library(clips, folder / "taught")
    told.add(f"{length}, a media file, beside labelled clips", curves, clips, whole=True)
    return space


def as_sequences(
    told: Told, clips: Sequence[Clip], length: str, sources: Sources, taught: Space, whole: bool
) -> None:
    """Ask a recording that is joined from sequences."""
    own = bridge(clips, sources)
    for what, (space, around) in {
        "joined": (own, AROUND),
        "joined, beside labelled clips": (taught, AROUND),
        "joined, no centring": (None, AROUND),
        "joined, no smoothing": (own, 1),
    }.items():
        curves = from_sequences(clips, space, around)
        told.add(f"{length}, {what}", curves, clips, whole=whole and not what.count("no "))


# -- speed -----------------------------------------------------------------------------------------


def scan(hours: int) -> Task:
    """Return what scores every second of a recording and finds its ten best moments."""
    n = 3600 * hours
    rng = np.random.default_rng(0)
    points = unit_rows(rng.standard_normal((n, 384), dtype=np.float32))
    block = Block(["x"], np.array([0, n]), points, np.ones(n, bool))
    query = points[n // 2]
    return lambda: best_peaks(block.scores(query), block.bounds, 10)


def questions(n_clips: int, seconds: int) -> dict[str, str]:
    """Return what questions to an open library cost: n clips of so many seconds, a step each."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic_library(Path(folder), n_clips, seconds=seconds)
        with earsight.Library(folder) as library:
            library.warm()
            turns = count(1)

            def ask(**how: object) -> None:
                library.search(clip=1 + next(turns) % n_clips, by="audio", **how)

            begun = time.perf_counter()
            ask(moments=True)
            first = time.perf_counter() - begun
            return {
                "moments, warm": f"{median_ms(lambda: ask(moments=True)):.0f} ms",
                "clips, warm": f"{median_ms(ask):.0f} ms",
                "moments, first question": f"{first:.1f} s",
                "points in memory": f"{n_clips * seconds * 384 * 4 / 1e6:.0f} MB",
            }


def median_ms(task: Callable[[], object]) -> float:
    taken = []
    with threadpool_limits(1):
        for _ in range(12):
            begun = time.perf_counter()
            task()
            taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken[2:]))


def libraries() -> dict[str, object]:
    """Return what whole questions cost, by the library they are put to."""
    shapes = sized(
        {"10,000 clips of 10 s": (10_000, 10), "100 recordings of an hour": (100, 3600)},
        {"200 clips of 10 s": (200, 10)},
    )
    return {
        name: ", ".join(f"{what} {cost}" for what, cost in questions(n_clips, seconds).items())
        for name, (n_clips, seconds) in shapes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=CLIPS)
    ten, hour = sized(14, 2), sized(100, 3)
    parser.add_argument("--ten", type=int, default=ten, help="drawn clips a class in ten minutes")
    parser.add_argument("--hour", type=int, default=hour, help="the same in an hour; 0: no hour")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    sources = Settings().sources
    told = Told({}, [], {})
    real = sorted(options.clips.glob("*/*.mp4"))[: sized(None, 1)]
    told.facts["real clips"] = len(real) or f"not there: no folder {options.clips.name}"
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(Path(folder), per_class=options.ten, seed=SEED)
        clips = read([*(one.path for one in drawn), *real], sources)
        taught = as_files(told, shuffled(clips), minutes(clips))
        as_sequences(told, shuffled(clips), minutes(clips), sources, taught, whole=False)
    more = [(label, i) for label in LABELS for i in range(options.ten, options.hour)]
    if more:
        clips += sketch(more, SEED, sources)
        as_sequences(told, shuffled(clips), minutes(clips), sources, taught, whole=True)
    told.facts["labelled clips"] = (
        f"{len(LABELS) * TAUGHT} drawn, none of them in a recording; with the recording they are "
        f"answered by {taught.name}"
    )
    hours = sized((1, 3, 10, 30, 100), (1, 2, 3, 4))
    scanned = grow("moments", "hours, a vector a second", hours, scan, rounds=9)
    an_hour = 1000 * scanned["rows"][0]["seconds"]
    report(
        "right class, right second: clips joined into recordings, searched by each of them",
        told.table,
        options.out / "moments.json",
        aims=[*told.aims, Aim("ms to scan an hour in memory", 10, an_hour)],
        growth=[scanned],
        threads=1,
        **told.facts,
        **libraries(),
    )


def shuffled(clips: Sequence[Clip]) -> list[Clip]:
    return [clips[i] for i in np.random.default_rng(SEED).permutation(len(clips))]


def minutes(clips: Sequence[Clip]) -> str:
    return f"{starts(clips)[-1] / 60:.0f} minutes"


if __name__ == "__main__":
    main()
