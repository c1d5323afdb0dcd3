"""A plan for 100 million clips, at a thousandth of its size: what a clip costs, and if it stays so.

Measured here: reading clips (drawn, 12 s, 640 × 360) and what a library keeps of them; then, with
made-up features as wide as the small pair's, 100,000 clips in 100 parts: writing the parts, fitting
cluster CCA to them, placing every clip in the space, writing the index, asking it. The same at a
tenth of that, so that the table can say how far the cost of a clip has moved on the way (1: it has
not). What stands for 100 million is the cost of a clip times their number: an assumption, named so.

    python benchmarks/plan.py [--out build/benchmarks]
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import earsight
from _harness import report, sized
from earsight.demo.standard import SECONDS, draw_standard
from earsight.features import FeatureBatches, PairedFeatures, write_features
from earsight.library.catalog.location import FOLDER
from earsight.library.indexing.pipeline import index
from earsight.vectors import LanceIndex, Row

WIDTHS = {"audio": 1024, "visual": 1280}  # YAMNet's and EfficientNet-lite0's
CLASSES, K = 300, 10
PARTS = sized(100, 4)
CLIPS = sized(100_000, 400)
READ = sized((16, 48), (2, 4))
PLANNED = 100_000_000


def seconds(task: Callable[[], object]) -> float:
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


def reading(folder: Path, n: int) -> tuple[float, int]:
    """Index n copies of one clip that differ by a few bytes; return seconds and bytes kept."""
    clips = folder / f"clips-{n}"
    clips.mkdir()
    for i in range(n):
        shutil.copyfile(folder / "standard.mp4", clips / f"{i}.mp4")
        with (clips / f"{i}.mp4").open("ab") as file:
            file.write((16).to_bytes(4, "big") + b"free" + i.to_bytes(8, "big"))
    took = seconds(lambda: index(clips))
    kept = sum(f.stat().st_size for f in (clips / FOLDER / "vectors").rglob("*") if f.is_file())
    return took, kept


def features(seed: int, n: int) -> PairedFeatures:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    views = {}
    for place, (name, width) in enumerate(WIDTHS.items()):
        centres = np.random.default_rng(place).normal(size=(CLASSES, width)).astype(np.float32)
        views[name] = centres[labels] + 2 * rng.normal(size=(n, width)).astype(np.float32)
    return PairedFeatures(views, labels=labels)


def simulate(folder: Path, clips: int, parts: int) -> dict[str, float]:
    """Go the whole way with made-up features; return the seconds of each step."""
    folder.mkdir()
    each = clips // parts
    files = [folder / f"part-{i}.h5" for i in range(parts)]
    made = [features(100 + i, each) for i in range(min(parts, 4))]  # some, again and again
    took = {
        "writing the parts": seconds(
            lambda: [write_features(file, made[i % len(made)]) for i, file in enumerate(files)]
        )
    }
    model = earsight.method("cluster_cca", n_components=K)
    took["fitting cluster CCA to the parts"] = seconds(
        lambda: model.fit_parts([FeatureBatches(file) for file in files])
    )
    table = LanceIndex(folder, "vectors")
    table.create(K)

    def place() -> None:
        for number, file in enumerate(files):
            names = [f"{number:04d}-{i:06d}" for i in range(each)]
            for views, *_ in FeatureBatches(file)():
                start = 0
                for name, x in views.items():
                    own = names[start : start + len(x)]
                    rows = [Row(f"{key}:{name}", key, name, 0, 0.0, 10.0) for key in own]
                    table.upsert(rows, model.transform(name, x))
                del names[: len(x)]
        table.optimize()

    took["placing them, and writing the index"] = seconds(place)
    query = model.transform("audio", made[0].views["audio"][:50])
    table.search(query[:5], K, {"modality": "visual"})
    own = [seconds(lambda q=q: table.search(q[None], K, {"modality": "visual"})) for q in query]
    took["one question"] = float(np.median(own))
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        draw_standard(top / "standard.mp4")
        (few, few_bytes), (many, many_bytes) = (reading(top, n) for n in READ)
        small = simulate(top / "small", CLIPS // 10, PARTS)
        large = simulate(top / "large", CLIPS, PARTS)
        parts = sum(f.stat().st_size for f in (top / "large").glob("*.h5")) / CLIPS
        vectors = sum(
            f.stat().st_size for f in (top / "large").rglob("*.lance/**/*") if f.is_file()
        )
    # What starting costs falls out of a difference.
    read = (many - few) / (READ[1] - READ[0])
    kept = (many_bytes - few_bytes) / (READ[1] - READ[0])
    results: dict[str, dict[str, object]] = {
        f"reading a clip of {SECONDS} s, small pair and words, both cores": _row(read, None)
    }
    for step in list(large)[:-1]:
        moved = (large[step] / CLIPS) / (small[step] / (CLIPS // 10))
        results[step] = _row(large[step] / CLIPS, moved)
    question = large["one question"]
    report(
        f"a plan for {PLANNED:,} clips, at 1/{PLANNED // CLIPS:,}",
        results,
        options.out / "plan.json",
        a_question_to_these_clips_in_ms=round(1000 * question, 1),
        the_same_at_a_tenth_of_them_in_ms=round(1000 * small["one question"], 1),
        bytes_a_clip_in_a_library=round(kept),
        bytes_a_clip_in_a_feature_file_of_means=round(parts),
        bytes_a_clip_of_both_points_in_the_index=round(vectors / CLIPS),
        TB_of_a_library_for_all=round(kept * PLANNED / 1e12, 2),
        TB_of_feature_files_for_all=round(parts * PLANNED / 1e12, 2),
        GB_of_the_index_for_all=round(vectors / CLIPS * PLANNED / 1e9, 1),
        two_core_machines_that_read_all_in_30_days=round(read * PLANNED / (30 * 86_400)),
        assumption="the cost of a clip times their number; the bytes of clips alike",
    )


def _row(a_clip: float, moved: float | None) -> dict[str, object]:
    row: dict[str, object] = {
        "ms a clip": round(1000 * a_clip, 3),
        "hours a million": round(a_clip * 1e6 / 3600, 2),
        f"hours for {PLANNED:,}": round(a_clip * PLANNED / 3600),
    }
    return row if moved is None else row | {"against a tenth": round(moved, 2)}


if __name__ == "__main__":
    main()
