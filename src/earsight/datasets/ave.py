"""AVE, in the files that its authors give out."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray, Labels
from earsight.errors import FeatureFileError
from earsight.features import FeatureSequence, PairedFeatures, StepTable
from earsight.features.containers import Container, open_container
from earsight.untrusted import check_memory

FILES = (
    *("audio_feature.h5", "visual_feature.h5", "labels.h5"),
    *("train_order.h5", "val_order.h5", "test_order.h5"),
)
WHERE = "Their authors publish them at github.com/YapengTian/AVE-ECCV18."
_TOGETHER = 64  # clips whose 7 × 7 maps are held at a time: 64 MiB


def ave(folder: str | Path) -> PairedFeatures:
    """Read AVE: 4,143 clips of ten seconds, 28 classes, VGGish sound and VGG-19 sight.

    Sight comes as 7 × 7 places a second, which are averaged, then both modalities over the
    seconds (they are kept as `steps`). A clip's class is the one that most of its seconds have,
    background (the last) aside. Some clips are cut from one video; the files do not say which.

    Args:
        folder: Holds audio_feature.h5 (n, seconds, 128), visual_feature.h5
            (n, seconds, 7, 7, 512) and labels.h5 (n, seconds, 29) as `avadataset`, and
            train_order.h5, val_order.h5 and test_order.h5 with row numbers as `order`.

    Returns:
        Views "audio" (n, 128) and "visual" (n, 512), labels, and `split` "train", "val", "test".

    Raises:
        FeatureFileError: A file is missing (it is said where they are published), damaged, or of
            another form.

    Reference: Tian et al., Audio-visual event localization in unconstrained videos, 2018.
    """
    folder = Path(folder)
    lacking = [name for name in FILES if not (folder / name).is_file()]
    if lacking:
        raise FeatureFileError(
            f"{folder} lacks {', '.join(lacking)} of AVE's official files ({', '.join(FILES)}). "
            f"{WHERE}"
        )
    audio = _read(folder / "audio_feature.h5", "avadataset", 3)
    visual = _places_averaged(folder / "visual_feature.h5")
    seconds = _read(folder / "labels.h5", "avadataset", 3)
    shapes = [audio.shape[:2], visual.shape[:2], seconds.shape[:2]]
    if len(set(shapes)) != 1:
        raise FeatureFileError(
            f"The files in {folder} must have as many clips and seconds as each other; "
            f"got {shapes}."
        )
    steps = {"audio": _steps(audio), "visual": _steps(visual)}
    return PairedFeatures(
        {modality: table.means() for modality, table in steps.items()},
        labels=_classes(seconds, folder),
        split=_split(folder, len(audio)),
        steps=steps,
        provenance={"audio": {"extractor": "vggish"}, "visual": {"extractor": "vgg19"}},
    )


def _steps(values: FloatArray) -> StepTable:
    """Return (n, seconds, d) as sequences of one vector a second."""
    times = np.arange(values.shape[1]) + 0.5
    return StepTable.of(FeatureSequence(clip, times, span=1.0) for clip in values)


def _classes(seconds: FloatArray, folder: Path) -> Labels:
    votes = seconds.sum(axis=1)[:, :-1]  # (n, classes) without background
    empty = np.flatnonzero(votes.max(axis=1) <= 0)
    if len(empty):
        raise FeatureFileError(
            f"{folder / 'labels.h5'}: clip {empty[0]} has no second of any class."
        )
    return np.asarray(votes.argmax(axis=1))


def _split(folder: Path, n: int) -> Labels:
    split = np.full(n, "", dtype="U5")
    for part in ("train", "val", "test"):
        path = folder / f"{part}_order.h5"
        rows = _read(path, "order", 1).astype(np.int64)
        if rows.min() < 0 or rows.max() >= n or (split[rows] != "").any():
            raise FeatureFileError(
                f"{path} must hold row numbers from 0 to {n - 1} that no other part has."
            )
        split[rows] = part
    if (split == "").any():
        raise FeatureFileError(
            f"The orders in {folder} must name each of the {n} clips; "
            f"{int((split == '').sum())} are in none."
        )
    return split


def _read(path: Path, name: str, axes: int) -> FloatArray:
    with _opened(path, name, axes) as container:
        check_memory(f"`{name}`", container.column_bytes(name))
        return np.asarray(container.array(name))


def _places_averaged(path: Path) -> FloatArray:
    """Return (n, seconds, d) float32; the file is larger than many memories."""
    with _opened(path, "avadataset", 5) as container:
        n, seconds, *places, dim = container.shape("avadataset")
        check_memory("The mean over places", 4 * n * seconds * dim)
        means = np.empty((n, seconds, dim), np.float32)
        each = seconds * math.prod(places)
        rows = container.rows("avadataset", None)
        for start in range(0, n, _TOGETHER):
            stop = min(start + _TOGETHER, n)
            block = rows(start * each, stop * each).reshape(-1, seconds, *places, dim)
            means[start:stop] = block.mean(axis=(2, 3), dtype=np.float32)
        return means


@contextmanager
def _opened(path: Path, name: str, axes: int) -> Iterator[Container]:
    with open_container(path) as container:
        held = {one: container.shape(one) for one in container.names}
        shape = held.get(name, ())
        if len(shape) != axes or 0 in shape or container.dtype(name).kind not in "fiu":
            raise FeatureFileError(
                f"{path} must hold `{name}` with {axes} axes, at least one row, and numbers; "
                f"it holds {held}."
            )
        yield container
