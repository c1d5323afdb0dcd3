"""Whose sight caused this sound? Clips of one class, told apart by their timing alone.

Drawn clips (seven classes of events, a seed that nothing was chosen on; the reading of timing was
chosen on drawn clips of seed 7) and the real clips of a folder. Each sound is set against the
sights of its class, each sight against its sounds. Both sides of every clip are cut to one length,
and the sound comes late or early by up to 0.2 s, so that neither lengths nor silence tell. Other
sounds that say what a sight is worth are those of the other clips of the class; never the sight's
own. Baselines: the plain correlation of loudness and global frame difference, within the same
reach; and the same features averaged over the clip, which know no time, in the direction that CCA
learns on the other half of the class. Chance is 1/n.
Real clips: three classes hold two each, which is too few for anything, so all are set against all;
nothing was chosen on them. Intervals: 95 % of a bootstrap over clips.

Through a library: drawn clips of all ten classes, indexed as any folder of labelled clips; each of
the seven with events asks by its sound for sights and by its sight for sounds, its own clip among
the answers for the first two figures, taken out for the third. How much timing may raise a clip
(`alignment.rhythm.raised`) was chosen on drawn clips of seed 7, with labels and without.

Cost: a hundred candidates of 10 s and sixteen other sounds, from what is stored to the order.

    python benchmarks/rhythm.py [--clips FOLDER] [--golden FOLDER] [--per-class 20] [--out DIR]
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import earsight
from _growth import grow
from _harness import Aim, Task, compare, only_absent, report, sized
from alignment import BLOCKS, EVENTS, RATE, SEED, Pair, interval, sequences, shifted
from earsight.alignment.lags import correlations
from earsight.alignment.offset import BANDS, smoothed
from earsight.alignment.rhythm import KINDS, PARTS, fits, heard, part, seen, stand_out
from earsight.alignment.rhythm import RATE as SLOW
from earsight.demo import draw
from earsight.errors import WeightsError
from earsight.features import FeatureSequence
from earsight.library.indexing.pipeline import index
from earsight.library.search.results import Result

CLIPS, GOLDEN = Path("../shared/data/clips"), Path("../shared/data/golden")
REACH, OFF = 0.5, 0.2  # seconds
Scores = np.ndarray  # (sounds, sights): the higher, the sooner


def cut(pairs: Sequence[Pair], rng: np.random.Generator) -> list[Pair]:
    """Return both sides of each clip at one length, the sound off by a little."""
    made = []
    for pair in pairs:
        made.append((pair[0], *shifted(pair, round(rng.uniform(-OFF, OFF) * RATE) / RATE)))
    n = min(min(len(sound), len(sight)) for _, sound, sight in made)
    return [(name, _first(sound, n), _first(sight, n)) for name, sound, sight in made]


def _first(one: FeatureSequence, n: int) -> FeatureSequence:
    return FeatureSequence(one.values[:n], one.times[:n], one.span)


def by_timing(pairs: Sequence[Pair]) -> tuple[Scores, Scores]:
    """Return scores of sounds for sights, and of sights for sounds (transposed)."""
    heights = fits([heard(a) for _, a, _ in pairs], [seen(v) for _, _, v in pairs]).heights
    n = len(pairs)
    forth, back = np.zeros((n, n)), np.zeros((n, n))
    for k in range(n):
        rest = [i for i in range(n) if i != k]
        use = ~np.eye(n, dtype=bool)[rest]
        forth[k] = stand_out(heights[:, k], heights[:, rest], use)
        back[k] = stand_out(heights[:, :, k], heights.transpose(0, 2, 1)[:, rest], use)
    return forth, back


def by_energy(pairs: Sequence[Pair]) -> tuple[Scores, Scores]:
    loud = [smoothed(a.values[:, BANDS:]).mean(axis=1, keepdims=True) for _, a, _ in pairs]
    moves = [smoothed(v.values[:, :BLOCKS]).mean(axis=1, keepdims=True) for _, _, v in pairs]
    reach = round(REACH * RATE)
    r = np.array([[correlations(a, v, reach).max() for v in moves] for a in loud])
    return r, r.T


def by_means(pairs: Sequence[Pair]) -> tuple[Scores, Scores]:
    """Rank by averages over the clip: each half asks in a space learned on the other."""
    views = {
        "audio": np.stack([sound.mean() for _, sound, _ in pairs]),
        "visual": np.stack([_rows(sight.mean()) for _, _, sight in pairs]),
    }
    forth, back = (np.zeros((len(pairs), len(pairs))) for _ in range(2))
    for half in (0, 1):
        asks = np.arange(len(pairs)) % 2 == half
        model = earsight.method("cca", n_components=1)
        model.fit({name: x[~asks] for name, x in views.items()})
        heard_at, seen_at = (model.transform(name, x) for name, x in views.items())
        forth[asks] = -np.abs(heard_at[asks] - seen_at[:, 0])
        back[asks] = -np.abs(seen_at[asks] - heard_at[:, 0])
    return forth, back


def _rows(blocks: np.ndarray) -> np.ndarray:
    """Return the means of rows of eight blocks, because there are few clips to learn from."""
    return np.asarray(blocks[: 2 * BLOCKS].reshape(-1, 8).mean(axis=1))


WAYS: dict[str, Callable[[Sequence[Pair]], tuple[Scores, Scores]]] = {
    "timing": by_timing,
    "energy correlation": by_energy,
    "averages over the clip": by_means,
}


def places(scores: Scores) -> np.ndarray:
    """Return the rank of each query's paired item, from 1; of equal scores the mean place."""
    own = np.diag(scores)[:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def row(ranked: Sequence[np.ndarray], clips: np.ndarray, of: int) -> dict[str, str]:
    both = np.concatenate(ranked)
    return {
        "queries": f"{len(both)}",
        "recall@1": interval(both <= 1, np.tile(clips, 2)),
        "median rank": f"{np.median(both):g} of {of}",
        "mean reciprocal rank": f"{np.mean(1 / both):.2f}",
        "chance recall@1": f"{1 / of:.2f}",
    }


def drawn(per_class: int) -> dict[str, dict[str, str]]:
    rng, groups = np.random.default_rng(SEED), []
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), per_class=per_class, seed=SEED)
        for label in EVENTS:
            made = [sequences(p, None, 0) for p in sorted(Path(folder, label).glob("*.mp4"))]
            groups.append(cut([pair for pair in made if pair], rng))
    clips = np.array([pair[0] for group in groups for pair in group])
    results = {}
    for name, way in WAYS.items():
        both = [tuple(map(places, way(group))) for group in groups]
        ranked = [np.concatenate([one[side] for one in both]) for side in (0, 1)]
        results[f"drawn, within a class: {name}"] = row(ranked, clips, per_class)
    return results


def real(folders: Sequence[Path]) -> dict[str, dict[str, str]]:
    paths = [p for folder in folders for p in sorted(folder.rglob("*.mp4"))]
    made = [sequences(path, None, 0) for path in paths]
    pairs = cut([pair for pair in made if pair], np.random.default_rng(SEED))
    if len(pairs) < 2:
        return {}
    clips = np.array([pair[0] for pair in pairs])
    results = {
        f"real, all against all: {name}": row([*map(places, way(pairs))], clips, len(pairs))
        for name, way in WAYS.items()
    }
    timing, chosen = by_timing(pairs), [Path(name).parent.name for name in clips]
    twins = [k for k, name in enumerate(chosen) if name != "golden" and chosen.count(name) == 2]
    other = {k: next(j for j in twins if j != k and chosen[j] == chosen[k]) for k in twins}
    right = [scores[k, k] > scores[k, j] for scores in timing for k, j in other.items()]
    if right:
        results["real, the right one of two of a class: timing"] = {
            "queries": f"{len(right)}",
            "recall@1": interval(np.array(right), np.tile(clips[list(other)], 2)),
            "chance recall@1": "0.50",
        }
    return results


def through_a_library(per_class: int) -> dict[str, dict[str, str]]:
    """Return what is first by meaning, by timing, and by both as a search answers."""
    asked: dict[str, list[tuple[bool, bool, bool]]] = {}
    clips = []
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), per_class=per_class, seed=SEED)
        index(Path(folder))
        with earsight.Library(folder) as library:
            for clip in library.clips():
                if clip.label not in EVENTS:
                    continue
                for by in ("audio", "visual"):
                    answer = library.search(clip=clip.id, by=by, rhythm=True, top=10**6)
                    clips.append(clip.path)
                    for name, results in orders(answer.results).items():
                        asked.setdefault(name, []).append(_firsts(results, clip.label))
    columns = ("paired item first, of all", "paired item first, of its class",
               "right class first, paired item left out")  # fmt: skip
    return {
        f"drawn, through a library: {name}": {"queries": f"{len(clips)}"}
        | {
            column: interval(np.array(values), np.array(clips))
            for column, values in zip(columns, zip(*found, strict=True), strict=True)
        }
        for name, found in asked.items()
    }


def orders(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the same results as a search answers, by meaning alone, and by timing alone."""
    return {
        "meaning, re-ranked by timing": list(results),
        "meaning alone": sorted(results, key=lambda one: -one.score),
        "timing alone": sorted(results, key=_by_timing),
    }


def _by_timing(one: Result) -> float:
    return np.inf if one.timing is None else -one.timing


def _firsts(results: Sequence[Result], label: str) -> tuple[bool, bool, bool]:
    of_class = [one for one in results if one.label == label]
    others = [one for one in results if not one.is_query]
    return results[0].is_query, of_class[0].is_query, others[0].label == label


def reranking(candidates: int, seconds: float = 10.0, others: int = 16) -> Task:
    """Return the work of one question: from stored timing to the order."""
    rng = np.random.default_rng(0)

    def made(width: int) -> FeatureSequence:
        n = round(seconds * SLOW)
        return FeatureSequence(rng.random((n, width), np.float32), np.arange(n) / SLOW, 1 / SLOW)

    sounds = [made(2) for _ in range(1 + others)]
    sights = [made(len(KINDS) * PARTS) for _ in range(candidates)]
    use = rng.random((others, candidates)) < 0.95

    def work() -> None:
        heights = fits(
            [part(one, 0.0, seconds) for one in sounds],
            [part(one, 0.0, seconds, margin=REACH) for one in sights],
            reach=REACH,
        ).heights
        np.argsort(-stand_out(heights[:, 0], heights[:, 1:], use), kind="stable")

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--per-class", type=int, default=sized(20, 4))
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    results = drawn(options.per_class)
    facts = {}
    try:
        results |= through_a_library(sized(8, 2))
    except WeightsError as error:
        facts["through a library"] = f"not measured: {only_absent(error)}"
    if options.clips.is_dir():
        results |= real([options.clips, options.golden])
    else:
        facts["real clips"] = f"not measured: there is no folder {options.clips.name}"
    spent = compare({"a hundred": reranking(100)}, rounds=15)["a hundred"]["seconds"]
    report(
        "whose sight caused this sound, by timing alone",
        results,
        options.out / "rhythm.json",
        aims=[Aim("milliseconds to re-rank 100 candidates of 10 s, one thread", 50, 1000 * spent)],
        growth=[
            grow("rhythm-seconds", "seconds", sized((5, 10, 20, 40), (2, 3, 4, 5)),
                 lambda n: reranking(100, n)),
            grow("rhythm-candidates", "candidates", sized((50, 100, 200, 400), (2, 3, 4, 5)),
                 reranking),
        ],
        threads=1,
        **facts,
    )  # fmt: skip


if __name__ == "__main__":
    main()
