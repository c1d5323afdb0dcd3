"""What reading sequences is worth beside their means, where order decides and where it does not.

Three drawn sets, two modalities at 4 and 2.5 steps a second, each through a map of its own, with
noise. "orders": three kinds of events in one of six orders, at random times; the class is the
order, so that a mean holds nothing of it. "turns": a ramp that rises and falls, or falls and rises.
"content": the class, and the clip's own half, are in every step, and times mean nothing. Then
drawn clips (events with sound and sight) of several classes, read by `onsets` and `motion`, 50
steps a second, and by `yamnet` and `efficientnet`, about two. Which sight, of the test clips of its
own class, caused this sound? There `contrastive` is asked, which learns from pairs alone, and the
reference is the plain correlation of loudness and motion within 200 ms, which learns nothing. And
MAP by class, where order is no more than a hint.

All by cross-validation: what is asked was not learned from. The seed is one that no choice was
made on (those were made on seeds 0 to 9 and 2027). Intervals are 95 %, a paired bootstrap over
queries of the difference to the mean; one that holds 0 decides nothing. Training seeds are not
varied.

    python benchmarks/temporal.py [--part sets|clips] [--per-class 30] [--out build/benchmarks]
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from earsight.alignment.lags import correlations
from earsight.alignment.offset import BANDS, BLOCKS, RATE, smoothed
from earsight.arrays import unit_rows
from earsight.demo import draw
from earsight.experiments.protocol import Protocol
from earsight.experiments.runs import Run, runs
from earsight.features import FeatureSequence, PairedFeatures, StepTable, read_features

POOLINGS = ("mean", "attention", "gru", "transformer")
EVENTS = ("ball", "bird", "drum", "guitar", "hammer", "telephone")
SEED, CLIPS, FOLDS = 2028, 450, 3
PAIRS = (("onsets", "motion"), ("yamnet", "efficientnet"))
RATES = {"audio": (4.0, 16), "visual": (2.5, 24)}
LEARNERS = ("tnn:epochs=40", "s_dcca:epochs=40", "adversarial:epochs=40", "contrastive:epochs=30")
SPECS = {"orders": LEARNERS, "turns": LEARNERS[:1], "content": LEARNERS}
Rows = list[list[str]]


def drawn(kind: str, n: int, seed: int) -> PairedFeatures:
    """Draw a set: sequences, and labels."""
    rng = np.random.default_rng([seed, list(SPECS).index(kind)])
    orders = list(itertools.permutations(range(3)))
    labels = rng.integers(2 if kind == "turns" else 6, size=n)
    moments = np.sort(rng.uniform(1.5, 6.0, (n, 3)), axis=1) + np.array([-0.5, 0.0, 0.5])
    turn, own = rng.uniform(3, 7, n), rng.normal(size=(n, 3))
    centres = rng.normal(size=(6, 3))
    steps = {}
    for name, (rate, dim) in RATES.items():
        mix = rng.normal(size=(3, dim))
        clips = []
        for clip, label in enumerate(labels):
            times = (np.arange(round(10 * rate * rng.uniform(0.8, 1.0))) + rng.uniform()) / rate
            if kind == "orders":
                near = np.exp(-(((times[:, None] - moments[clip]) / 0.5) ** 2))  # (steps, 3)
                signal = 3 * near[:, np.argsort(orders[label])]
            elif kind == "turns":
                ramp = 1 - np.abs(times - turn[clip]) / 3
                signal = np.outer((ramp - ramp.mean()) * (2 * label - 1), np.ones(3))
            else:
                signal = np.tile(0.3 * (centres[label] + 0.5 * own[clip]), (len(times), 1))
            noise = rng.normal(size=(len(times), dim))
            clips.append(FeatureSequence((signal @ mix + noise).astype(np.float32), times))
        steps[name] = StepTable.of(clips)
    views = {name: table.means() for name, table in steps.items()}
    return PairedFeatures(views, labels, steps=steps)


def pooled(spec: str, pooling: str) -> str:
    return f"{spec}{',' if ':' in spec else ':'}pooling={pooling}"


def figures(found: list[Run], figure: str, n: int) -> np.ndarray:
    """Return the figure of each clip as a query, mean of both directions: (n,)."""
    values = np.zeros(n)
    for run in found:
        for own in run.queries.values():
            held = own.ap if figure == "MAP" else 1.0 / own.rank
            values[own.rows] += held / len(run.queries)
    return values


def interval(values: np.ndarray) -> str:
    """Return a mean with its 95 % interval."""
    chosen = np.random.default_rng(0).integers(len(values), size=(5000, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def sets(seed: int, n: int) -> Rows:
    rows = []
    for kind, specs in SPECS.items():
        data = drawn(kind, n, seed)
        for spec in specs:
            figure = "MRR" if spec.startswith("contrastive") else "MAP"
            rows += [[kind, *row] for row in poolings(data, spec, figure, Protocol(FOLDS, 1), n)]
    return rows


def poolings(data: PairedFeatures, spec: str, figure: str, protocol: Protocol, n: int) -> Rows:
    rows, plain = [], np.zeros(n)
    for pooling in POOLINGS:
        begun = time.perf_counter()
        found = list(runs(data, pooled(spec, pooling), protocol, lambda line: None))
        values = figures(found, figure, n)
        plain = values if pooling == "mean" else plain
        against = "" if pooling == "mean" else interval(values - plain)
        fit = np.mean([run.fit_seconds for run in found])
        rows.append([spec, pooling, figure, f"{values.mean():.3f}", against, f"{fit:.1f}"])
        print("  ", *rows[-1], f"{time.perf_counter() - begun:.0f} s", flush=True)
    return rows


def extracted(folder: Path, audio: str, visual: str) -> PairedFeatures:
    """Read drawn clips by `earsight extract`, and keep those with events."""
    file = folder / f"{audio}.h5"
    asked = ("--audio", audio, "--visual", visual, "-o", str(file), "--quiet")
    command = [sys.executable, "-m", "earsight", "extract", str(folder / "clips"), *asked]
    subprocess.run(command, check=True)
    data = read_features(file)
    return data.take(np.flatnonzero(np.isin(np.asarray(data.labels), EVENTS)))


def in_class(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for each sound whether its own sight is first of its class; scores (n, n)."""
    alike = labels[:, None] == labels
    own = np.diag(scores)[:, None]
    return np.asarray(((scores >= own) & alike).sum(axis=1) == 1, dtype=float)


def plain_scores(test: PairedFeatures) -> np.ndarray:
    """Return how well loudness and motion go together, within 200 ms, for each two clips."""
    sounds = [
        smoothed(clip.values[:, BANDS:]).mean(1, keepdims=True) for clip in test.steps["audio"]
    ]
    sights = [
        smoothed(clip.values[:, :BLOCKS]).mean(1, keepdims=True) for clip in test.steps["visual"]
    ]
    reach = round(0.2 * RATE)
    return np.array([[correlations(a, v, reach).max() for v in sights] for a in sounds])


def by_nobody(data: PairedFeatures) -> Rows:
    """Return what chance finds, and what needs no learning."""
    labels, n = np.asarray(data.labels), len(data.views["audio"])
    chance, plain = np.zeros(n), np.zeros(n)
    for fold in Protocol(FOLDS, 1).cut(data):
        own = labels[fold.test]
        chance[fold.test] = 1 / (own[:, None] == own).sum(axis=1)
        plain[fold.test] = in_class(plain_scores(data.take(fold.test)), own)
    return [
        ["chance", "–", "recall@1 in class", f"{chance.mean():.3f}", "", ""],
        ["loudness and motion", "–", "recall@1 in class", f"{plain.mean():.3f}", "", ""],
    ]


def caused(data: PairedFeatures, spec: str) -> Rows:
    """Ask every pooling which sight of its class caused a sound."""
    labels = np.asarray(data.labels)
    rows, plain = [], np.zeros(len(labels))
    for pooling in POOLINGS:
        found = list(runs(data, pooled(spec, pooling), Protocol(FOLDS, 1), lambda line: None))
        values = np.zeros(len(labels))
        for run in found:
            at = run.queries["audio->visual"].rows
            audio, visual = (unit_rows(run.embedded[name]) for name in ("audio", "visual"))
            values[at] = in_class(audio @ visual.T, labels[at])
        plain = values if pooling == "mean" else plain
        against = "" if pooling == "mean" else interval(values - plain)
        fit = np.mean([run.fit_seconds for run in found])
        figure = ("recall@1 in class", f"{values.mean():.3f}", against, f"{fit:.1f}")
        rows.append([spec, pooling, *figure])
        print("  ", *rows[-1], flush=True)
    return rows


def clips(per_class: int, seed: int) -> Rows:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder, "clips"), per_class=per_class, seed=seed)
        for audio, visual in PAIRS:
            data = extracted(Path(folder), audio, visual)
            name, n = f"{audio}, {visual}", len(data.views["audio"])
            found = by_nobody(data) if audio == "onsets" else []
            found += caused(data, "contrastive:epochs=30")
            found += poolings(data, "tnn", "MAP", Protocol(FOLDS, 1), n)
            rows += [[name, *row] for row in found]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--part", choices=["sets", "clips"])
    parser.add_argument("--n", type=int, default=CLIPS, help="Clips of each drawn set.")
    parser.add_argument("--per-class", type=int, default=30, help="Drawn clips of each class.")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    rows: Rows = []
    if arguments.part != "clips":
        rows += sets(arguments.seed, arguments.n)
    if arguments.part != "sets":
        rows += clips(arguments.per_class, arguments.seed)
    columns = ("method", "pooling", "figure", "found", "against the mean", "seconds a fit")
    record = {
        "title": "Sequences, read or averaged",
        "results": {
            f"{kind}: {spec.partition(':')[0]}, {pooling}": dict(
                zip(columns, [spec, pooling, *rest], strict=True)
            )
            for kind, spec, pooling, *rest in rows
        },
        "facts": {"seed": arguments.seed, "clips of a set": arguments.n, "folds": FOLDS},
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "temporal.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
