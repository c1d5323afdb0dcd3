"""Right class, right second: clips joined into recordings of 10 and of 60 minutes, and searched.

Drawn clips of ten classes (3 to 4 s, a seed that nothing was chosen on) and the real clips of a
folder, 10 s each, in random order. Each clip asks, by its sound for sights and by its sight for
sounds; its own place in the recording and all that the smoothing draws from there is taken out. A
moment is right if its middle lies in another clip of the query's class. Ten minutes are a media
file, encoded, indexed and asked through `Library.timeline`: alone, and in a folder with a hundred
other drawn clips by class, from which the library learns what stands beside the words. An hour is
joined from the sequences of its clips, to spare its encoding; so are ten minutes once more, to show
what difference that makes. Baselines on the joined seconds: vectors as they are (no centring), each
second by itself (no smoothing), and chance. Intervals: 95 % of a bootstrap over clips. The recipe
(words, centred, 5 s) was given before these clips were seen; nothing was tuned on them.

Speed: an hour in memory, then whole questions to open libraries of made-up vectors.

    python benchmarks/moments.py [--clips FOLDER] [--hour 100] [--out build/benchmarks]

Drawing a thousand clips for the hour takes ten minutes; `--hour 0` leaves it out.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice, repeat
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import earsight
from _synthetic import synthetic_library
from earsight.arrays import unit_rows
from earsight.demo import draw
from earsight.demo.encode import FPS, write_clip
from earsight.features import FeatureSequence
from earsight.library.build import index
from earsight.library.learn import fit_bridge
from earsight.library.moments import best_peaks
from earsight.library.seconds import AROUND, Block, n_seconds, pooled
from earsight.library.settings import Settings
from earsight.library.sources import Sources, read_clip, spans
from earsight.library.space import Space
from earsight.library.strangers import Stranger
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest

CLIPS = Path("../shared/data/clips")
RECORDING = "recording.mp4"
SEED, SIZE, RATE = 2026, (480, 270), 44_100
TAUGHT = 10  # labelled clips of each drawn class, none of them in a recording
SIDES = {"audio": "visual", "visual": "audio"}
ROLES = {side: f"words.{side}" for side in SIDES}
Table = dict[str, dict[str, str]]
Curves = Mapping[str, np.ndarray]  # side that asks -> (queries, seconds), −inf where nothing is


@dataclass(frozen=True)
class Clip:
    """A clip as the library's extractors hear and see it."""

    path: Path
    label: str
    seconds: float
    sequences: Mapping[str, FeatureSequence]

    @property
    def real(self) -> bool:
        return not self.path.stem.startswith(f"{self.label}_")


def read(paths: Sequence[Path], sources: Sources) -> list[Clip]:
    """Read clips; those without sound or without sight are left out."""
    found = []
    for path in paths:
        got = read_clip(path, sources, whole=True)
        if set(ROLES.values()) <= got.sequences.keys():
            found.append(Clip(path, path.parent.name, got.report.duration, got.sequences))
    return found


def starts(clips: Sequence[Clip]) -> np.ndarray:
    """Return where each clip starts in their recording, and where the last ends: (n + 1,)."""
    return np.cumsum([0.0, *(round(clip.seconds * FPS) / FPS for clip in clips)])


def joined(clips: Sequence[Clip]) -> dict[str, FeatureSequence]:
    """Return the sequences of a recording of clips."""
    made = {}
    for role in clips[0].sequences:
        own = [clip.sequences[role] for clip in clips]
        values = np.concatenate([one.values for one in own])
        times = [one.times + start for one, start in zip(own, starts(clips)[:-1], strict=True)]
        weights = [np.ones(len(o)) if o.weights is None else o.weights for o in own]
        mass = np.concatenate(weights).astype(np.float32)
        order = np.argsort(np.concatenate(times), kind="stable")
        made[role] = FeatureSequence(
            values[order], np.concatenate(times)[order], own[0].span, mass[order]
        )
    return made


def film(clips: Sequence[Clip], path: Path) -> None:
    """Encode clips, one after another, as one media file."""
    lengths = [round(clip.seconds * FPS) for clip in clips]

    def sound(clip: Clip, n_frames: int) -> np.ndarray:
        blocks = [b.samples for b in Decoder(clip.path, audio=[RATE]) if isinstance(b, AudioBlock)]
        samples = np.concatenate(blocks)[: n_frames * RATE // FPS]
        return np.pad(samples, (0, n_frames * RATE // FPS - len(samples)))

    def frames() -> Iterator[np.ndarray]:
        for clip, n_frames in zip(clips, lengths, strict=True):
            seen = (
                framed(picture)
                for block in Decoder(clip.path, frames=[FrameRequest(FPS, SIZE[1])])
                if isinstance(block, FrameBlock)
                for picture in block.frames
            )
            shown = 0
            for picture in islice(seen, n_frames):
                shown += 1
                yield picture
            yield from repeat(picture, n_frames - shown)

    heard = np.concatenate([sound(*one) for one in zip(clips, lengths, strict=True)])
    write_clip(path, frames(), SIZE, heard, RATE)


def framed(picture: np.ndarray) -> np.ndarray:
    """Put a picture into the middle of the recording's frame; what is wider is cut at the sides."""
    height, width = picture.shape[:2]
    made = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    cut = picture[: SIZE[1], max(0, width - SIZE[0]) // 2 :][:, : SIZE[0]]
    top, left = (SIZE[1] - min(height, SIZE[1])) // 2, (SIZE[0] - cut.shape[1]) // 2
    made[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return made


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


def rows(name: str, curves: Curves, clips: Sequence[Clip], *, split: bool = False) -> Table:
    """Return the table's rows of one contender; with `split`, of the real clips as well."""
    found = {side: judged(own, clips) for side, own in curves.items()}
    made = {name: cells({side: one.right for side, one in found.items()})}
    if split:
        real = np.array([clip.real for clip in clips])
        ours = {side: one.right[real[one.asking]] for side, one in found.items()}
        made[f"{name}, asked by the {len(ours['audio'])} real clips alone"] = cells(ours)
        made[f"{name}: chance"] = cells({side: one.chance for side, one in found.items()})
    return made


def cells(values: Mapping[str, np.ndarray]) -> dict[str, str]:
    names = {"audio": "sound to sight", "visual": "sight to sound"}
    return {
        f"{names[side]}, {at}": interval(own[:, place])
        for side, own in values.items()
        for place, at in enumerate(("first", "first five"))
    }


def as_files(clips: Sequence[Clip], length: str) -> tuple[Table, Space]:
    """Return the rows of a recording that is a media file; and the space that was learned."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film(clips, folder / RECORDING)
        curves, _ = through_the_library(clips, folder)
        made = rows(f"{length}, a media file", curves, clips, split=True)
        draw(folder / "taught", per_class=TAUGHT, seed=SEED + 1)
        (folder / RECORDING).rename(folder / "taught" / RECORDING)
        curves, space = through_the_library(clips, folder / "taught")
    made |= rows(f"{length}, a media file, beside labelled clips", curves, clips, split=True)
    return made, space


def as_sequences(clips: Sequence[Clip], length: str, sources: Sources, taught: Space) -> Table:
    """Return the rows of a recording that is joined from sequences."""
    own = bridge(clips, sources)
    shown = {
        "joined": (own, AROUND),
        "joined, beside labelled clips": (taught, AROUND),
        "joined, no centring": (None, AROUND),
        "joined, no smoothing": (own, 1),
    }
    made: Table = {}
    for what, (space, around) in shown.items():
        curves = from_sequences(clips, space, around)
        made |= rows(f"{length}, {what}", curves, clips, split=what == "joined")
    return made


# -- speed -----------------------------------------------------------------------------------------


def scan(hours: int) -> float:
    """Return milliseconds to score every second of a recording and to find its ten best moments."""
    n = 3600 * hours
    rng = np.random.default_rng(0)
    points = unit_rows(rng.normal(size=(n, 384)).astype(np.float32))
    block = Block(["x"], np.array([0, n]), points, np.ones(n, bool))
    query = points[n // 2]
    return median_ms(lambda: best_peaks(block.scores(query), block.bounds, 10))


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


def speed(small: bool) -> dict[str, object]:
    facts: dict[str, object] = {
        f"milliseconds to scan {hours} h in memory, a vector a second": round(scan(hours), 2)
        for hours in (1, 10, 100)
    }
    shape = {"200 clips of 10 s": (200, 10)} if small else {
        "10,000 clips of 10 s": (10_000, 10), "100 recordings of an hour": (100, 3600),
    }  # fmt: skip
    for name, (n_clips, seconds) in shape.items():
        told = questions(n_clips, seconds)
        facts[name] = ", ".join(f"{what} {cost}" for what, cost in told.items())
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--ten", type=int, default=14, help="drawn clips a class in ten minutes")
    parser.add_argument("--hour", type=int, default=100, help="the same in an hour; 0: no hour")
    parser.add_argument("--small", action="store_true", help="speed on a small library alone")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    sources = Settings().sources
    results: Table = {}
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(Path(folder), per_class=max(options.ten, options.hour), seed=SEED)
        some = [one.path for one in drawn if int(one.path.stem[-2:]) < options.ten]
        more = [one.path for one in drawn if one.path not in set(some)]
        real = sorted(options.clips.glob("*/*.mp4"))
        clips = read([*some, *real], sources)
        made, taught = as_files(shuffled(clips), minutes(clips))
        results |= made
        results |= as_sequences(shuffled(clips), minutes(clips), sources, taught)
        if options.hour > options.ten:
            clips += read(more, sources)
            results |= as_sequences(shuffled(clips), minutes(clips), sources, taught)
    facts: dict[str, object] = {
        "real clips": len(real) or f"not there: no folder {options.clips.name}",
        "labelled clips": f"{10 * TAUGHT} drawn, none of them in a recording; with the recording "
        f"they are answered by {taught.name}",
    }
    facts |= speed(options.small)
    title = "right class, right second: clips joined into recordings, searched by each of them"
    print(title)
    for name, row in [*results.items(), *((name, {"": fact}) for name, fact in facts.items())]:
        print(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    options.out.mkdir(parents=True, exist_ok=True)
    record = {"title": title, "results": results, "facts": facts}
    (options.out / "moments.json").write_text(json.dumps(record, indent=1))


def shuffled(clips: Sequence[Clip]) -> list[Clip]:
    return [clips[i] for i in np.random.default_rng(SEED).permutation(len(clips))]


def minutes(clips: Sequence[Clip]) -> str:
    return f"{starts(clips)[-1] / 60:.0f} minutes"


if __name__ == "__main__":
    main()
