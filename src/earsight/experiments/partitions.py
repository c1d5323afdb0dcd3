"""Closed forms fitted to many feature files, which are never all in memory, here or on a cluster.

Each file is cut into parts; their sums are merged, and the model is that of all rows, to rounding.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast

from earsight import engine
from earsight.errors import EngineError, FeatureFileError, InputError
from earsight.experiments.runs import new_model
from earsight.experiments.train import Trained, check_score, scored
from earsight.features import FeatureBatches, PairedFeatures
from earsight.methods import JointEmbedding, save_model
from earsight.storage import Ranged, Remote

MOST_ROWS = 1 << 18  # of a part: what a lost machine costs
_PARTS_PER_CPU = 4

File = Path | Remote


def matching(pattern: str) -> list[File]:
    """Return the files that a pattern such as `parts/*.h5` or `s3://bucket/parts/*.h5` names.

    In the order of their names.

    Raises:
        InputError: There is none.
        StorageError: The bucket cannot be listed.
    """
    found: list[File]
    if pattern.startswith("s3://"):
        whole = Remote.parse(pattern)
        below = Remote(whole.bucket, whole.key.partition("*")[0].rpartition("/")[0])
        keys = (below / name for name, _ in below.walk())
        found = [file for file in keys if _is_like(file.key, whole.key)]
    else:
        fixed, star, rest = str(Path(pattern).absolute()).partition("*")
        folder, _, start = fixed.rpartition("/")
        found = [*sorted(Path(folder or "/").glob(f"{start}{star}{rest}"))]
    if not found:
        raise InputError(f"A pattern must name at least one feature file; {pattern!r} names none.")
    return found


def _is_like(key: str, pattern: str) -> bool:
    """Whether a key is of a pattern, folder by folder: as on a disk a star stays in its own."""
    parts, wanted = key.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def fit_files(
    model: JointEmbedding, files: Sequence[File], cluster: engine.Cluster | None = None
) -> dict[str, int]:
    """Fit a closed form to all rows of some feature files.

    Args:
        model: A method such as cca, cluster_cca or mean_cca.
        files: HDF5 files of the same modalities; of one on S3, rows are moved as they are read.
        cluster: Where they are read; None: here, one after the other.

    Returns:
        Modality → number of rows.

    Raises:
        InputError: The method is no closed form; what `fit` refuses.
        FeatureFileError: A file cannot be read in batches, or keeps rows for testing.
        EngineError: A part was lost again and again, or the cluster is gone; the model is as it
            was before.
    """
    check_closed(model)
    counts = _counts(files, cluster)
    n_parts = _PARTS_PER_CPU * (cluster.cpus if cluster else 1)
    model.fit_parts(parts_of(files, counts, n_parts), cluster.merged if cluster else map)
    return dict(sum(map(Counter, counts), Counter[str]()))


def check_closed(model: JointEmbedding) -> None:
    """Check that a method can learn from files of which not all rows are in memory at once.

    Raises:
        InputError: It is no closed form.
    """
    if type(model).fit_parts is JointEmbedding.fit_parts:
        raise InputError(
            f"{model.name} needs all rows at once, so it cannot be fitted to files in parts: give "
            "it one file, such as `earsight join` makes of parts. The closed forms of the CCA "
            "family, such as cca and cluster_cca, can."
        )


@dataclass(frozen=True)
class FilePart:
    """Neighbouring rows of one file; a part, as `fit_parts` takes them."""

    file: File
    start: int
    stop: int

    def __call__(self) -> Iterator[Any]:
        """Read them."""
        with _opened(self.file) as source:
            yield from FeatureBatches(source, self.start, self.stop)()


def parts_of(
    files: Sequence[File], counts: Sequence[dict[str, int]], n_parts: int
) -> list[FilePart]:
    """Cut files into about `n_parts` parts, or more where those would be too long."""
    lengths = [max(own.values()) for own in counts]
    size = min(MOST_ROWS, max(1, -(-sum(lengths) // n_parts)))
    return [
        FilePart(file, start, min(start + size, length))
        for file, length in zip(files, lengths, strict=True)
        for start in range(0, length, size)
    ]


def train_files(
    files: Sequence[File],
    spec: str,
    folder: Path,
    *,
    address: str | None = None,
    seed: int = 0,
    score: PairedFeatures | None = None,
) -> Trained:
    """Fit a closed form to many files and save it, as `train` does with rows in memory.

    Args:
        files: As for `fit_files`.
        spec, folder, seed, score: As for `train`.
        address: host:port of a Ray cluster; None: the files are read here.

    Raises:
        InputError: The folder is there; and what `fit_files` refuses.
        EngineError: The cluster cannot be used, or was lost; nothing is written.
    """
    check_score(folder, score)
    model: Any = new_model(spec, seed)
    begun = time.perf_counter()
    with engine.connected(address) if address else nullcontext() as cluster:
        n_rows = fit_files(model, files, cluster)
    seconds = time.perf_counter() - begun
    scores = {} if score is None else scored(model, score)
    save_model(model, folder)
    return Trained(
        folder=folder,
        method=model.name,
        n_rows=n_rows,
        n_components=model.n_components_,
        seconds=seconds,
        scores=scores,
    )


def _counts(files: Sequence[File], cluster: engine.Cluster | None) -> list[dict[str, int]]:
    if cluster is None:
        return [_count(file) for file in files]
    found = {}
    for file, counts in cluster.run(_count, files):
        if isinstance(counts, engine.WorkerDied):
            raise EngineError(f"{file} could not be counted: {counts} Nothing was changed.")
        found[file] = counts
    return [found[file] for file in files]


def _count(file: File) -> dict[str, int]:
    with _opened(file) as source:
        counts, has_split = FeatureBatches(source).counts()
    if has_split:
        raise FeatureFileError(
            f"{file} keeps rows for testing (`split`); files that are fitted in parts must not, "
            "for all their rows are learned from. Write the training rows to a file of their own."
        )
    return counts


@contextmanager
def _opened(file: File) -> Iterator[Path | BinaryIO]:
    """Give a file to read in, and check afterwards that it was one file all the time."""
    if isinstance(file, Path):
        yield file
        return
    with Ranged(file) as source:
        yield cast(BinaryIO, source)
        source.check()
