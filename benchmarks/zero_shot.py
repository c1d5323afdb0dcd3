"""The zero-shot space by other naming networks, against the default, on real labelled clips.

Every clip is heard and seen once by all that can name it; the clips are centred by `zero_shot` with
the priors, as a library does it, and ranked from sound to sight and back, with nothing fitted. The
interval is a paired bootstrap over the queries of both directions, a clip's two together: 95 % of
the differences of MAP to the default. A difference whose interval holds 0 decides nothing, and ten
clips decide next to nothing.

    python benchmarks/zero_shot.py --clips FOLDER      (a folder of folders; each is a class)

Speed is not measured here.
"""

import argparse
from pathlib import Path

import numpy as np

import earsight
from _harness import absent, only_absent, report, sized
from earsight.errors import WeightsError
from earsight.extractors import FeatureExtractor, extract_all

CLIPS = Path("../shared/data/clips")
DEFAULT = ("yamnet", "efficientnet")
VARIANTS = [
    ("soundnet_scenes", "efficientnet"),
    ("soundnet_objects", "efficientnet"),
    ("yamnet", "i3d_kinetics"),
    ("yamnet", "i3d"),
    ("soundnet_scenes", "i3d_kinetics"),
    ("soundnet_objects", "i3d_kinetics"),
][: sized(None, 2)]
RESAMPLES = 10_000


def at_hand(pairs: list[tuple[str, str]]) -> tuple[dict[str, FeatureExtractor], list[str]]:
    """Make who names sounds and who names sights; and name those whose weights cannot be had."""
    asked = {ears: {"modality": "audio", "ears": ears} for ears, _ in pairs}
    asked |= {eyes: {"modality": "visual", "eyes": eyes} for _, eyes in pairs}
    made: dict[str, FeatureExtractor] = {}
    gone = []
    for name, how in asked.items():
        kind = earsight.extractor("words", **how)
        try:
            kind.fetch_weights()
        except WeightsError as error:
            only_absent(error)
            gone.append(name)
        else:
            made[name] = kind
    return made, gone


def hear_and_see(
    clips: list[Path], made: dict[str, FeatureExtractor]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return each namer's means (n, 384) of the clips that have sound and sight; their labels."""
    found = [(clip, extract_all(clip, made.values())[0]) for clip in clips]
    whole = [(clip, sequences) for clip, sequences in found if len(sequences) == len(made)]
    labels = np.array([clip.parent.name for clip, _ in whole])
    return {
        name: np.stack([sequences[kind.key()].mean() for _, sequences in whole])
        for name, kind in made.items()
    }, labels


def average_precisions(
    views: dict[str, np.ndarray], prior: dict[str, np.ndarray], labels: np.ndarray
) -> np.ndarray:
    """Return (n_clips, 2): AP of each clip's sound and of its sight."""
    model = earsight.method("zero_shot", prior=prior).fit(views)
    points = {m: model.transform(m, x) for m, x in views.items()}
    scores = earsight.evaluate(points, labels=labels)
    directions = (("audio", "visual"), ("visual", "audio"))
    return np.stack([scores[direction].ap for direction in directions], axis=1)


def interval(ap: np.ndarray, default: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the difference of means, clips drawn with both their queries."""
    difference = (ap - default).mean(axis=1)  # (n_clips,)
    drawn = np.random.default_rng(0).integers(0, len(ap), (RESAMPLES, len(ap)))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Read, rank, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=CLIPS)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    clips = sorted(options.clips.glob("*/*.mp4"))
    if not clips:
        absent(f"there are no folders of real clips: no folder {options.clips.name}")
    made, gone = at_hand([DEFAULT, *VARIANTS])
    means, labels = hear_and_see(clips, made)

    def ap(pair: tuple[str, str]) -> np.ndarray:
        sides = dict(zip(("audio", "visual"), pair, strict=True))
        views = {side: means[name] for side, name in sides.items()}
        prior = {side: made[name].prior for side, name in sides.items()}
        return average_precisions(views, prior, labels)

    base = ap(DEFAULT)
    results = {}
    for pair in [DEFAULT, *(pair for pair in VARIANTS if set(pair) <= set(made))]:
        own = ap(pair)
        low, high = interval(own, base)
        results[" + ".join(pair)] = {
            "sound to sight": f"{own[:, 0].mean():.3f}",
            "sight to sound": f"{own[:, 1].mean():.3f}",
            "difference": "" if pair == DEFAULT else f"{(own - base).mean():+.3f}",
            "95 %": "" if pair == DEFAULT else f"{low:+.3f} … {high:+.3f}",
        }
    facts = {"left out": f"{', '.join(gone)}: the weights cannot be had here"} if gone else {}
    report(
        f"MAP of the zero-shot space by naming network, {len(labels)} real clips",
        results,
        options.out / "zero_shot.json",
        classes=len(set(labels)),
        **facts,
    )


if __name__ == "__main__":
    main()
