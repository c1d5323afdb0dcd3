"""A feature file as batches of rows, for fits that need not hold all of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from earsight.arrays import FloatArray
from earsight.errors import FeatureFileError, InputError
from earsight.features._reader import Reader, scale_of
from earsight.features.containers import ending, open_container
from earsight.features.sequences import Rows
from earsight.prefetch import ahead

_ROWS = 4096  # of a batch; a closed form adds up blocks of as many

Batch = tuple[dict[str, FloatArray], Any, Any]


@dataclass(frozen=True)
class FeatureBatches:
    """Rows of a feature file in HDF5, 4,096 at a time, as `fit_batches` and `fit_parts` take them.

    Each call opens the file anew and returns a fresh iterator over (views, labels, groups); a
    thread reads one batch ahead. Memory: three batches and the columns of the file. It can be
    pickled, so that another process, or a machine that sees the file, reads its rows. All rows
    come, those of a test part too.

    Attributes:
        path: An .h5 or .hdf5 file in which every modality is an array (n, d); or one that is
            open for reading bytes and has a `name` (it is not closed, and cannot be pickled).
        start, stop: Rows from `start` up to `stop`; None: to the end.
        dequantise: As for `read_features`.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from earsight.features import PairedFeatures, write_features
    >>> features = PairedFeatures({"audio": np.ones((5000, 2)), "visual": np.ones((5000, 3))})
    >>> with TemporaryDirectory() as folder:
    ...     write_features(f"{folder}/rows.h5", features)
    ...     [views["visual"].shape for views, *_ in FeatureBatches(f"{folder}/rows.h5")()]
    [(4096, 3), (904, 3)]
    """

    path: str | Path | BinaryIO
    start: int = 0
    stop: int | None = None
    dequantise: str | None = None

    def __post_init__(self) -> None:
        scale_of(self.dequantise)

    def __call__(self) -> Iterator[Batch]:
        """Start reading.

        Raises:
            FeatureFileError: What `read_features` refuses; an .npz file, the author's layout, or
                a modality that is kept as sequences.
        """
        return ahead(self._read(), depth=1)

    def counts(self) -> tuple[dict[str, int], bool]:
        """Return modality → number of rows in the file, and whether some are kept for testing.

        Raises:
            FeatureFileError: As for a call.
        """
        counts, *_, has_split = self._open()
        return counts, has_split

    def parts(self, n: int) -> list["FeatureBatches"]:
        """Cut the rows into at most `n` parts of whole batches, the last aside.

        Raises:
            InputError: `n` is below 1.
            FeatureFileError: As for a call.
        """
        if n < 1:
            raise InputError(f"`n` must be at least 1, a number of parts; got {n}.")
        counts, *_ = self._open()
        stop = max(counts.values()) if self.stop is None else self.stop
        batches = -(-(stop - self.start) // _ROWS)
        size = max(1, -(-batches // n)) * _ROWS
        starts = range(self.start, max(stop, self.start + 1), size)
        return [replace(self, start=at, stop=min(at + size, stop)) for at in starts]

    def _read(self) -> Iterator[Batch]:
        counts, rows, labels, groups, _ = self._open()
        end = max(counts.values())
        stop = end if self.stop is None else min(self.stop, end)
        for at in range(self.start, stop, _ROWS):
            part = {name: slice(min(at, n), min(at + _ROWS, stop, n)) for name, n in counts.items()}
            yield (  # and keep no batch while the next one is read
                {name: read(part[name].start, part[name].stop) for name, read in rows.items()},
                _cut(labels, part),
                _cut(groups, part),
            )

    def _open(self) -> tuple[dict[str, int], dict[str, Rows], Any, Any, bool]:
        """Return rows and a reader of each modality, labels, groups, whether there is a split."""
        path = Path(self.path) if isinstance(self.path, str) else self.path
        if ending(path) == ".npz":
            raise FeatureFileError(
                f"{path}: an .npz file is read whole. Write it as .h5 to read it in batches."
            )
        with open_container(path) as container:
            reader = Reader(container, scale_of(self.dequantise))
            for name in reader.modalities:
                if reader.is_authors or name not in container.names:
                    raise InputError(f"`{name}` is not an array (n, d). {_WHOLE}")
                shape = container.shape(name)
                if len(shape) != 2:
                    raise InputError(f"`{name}` must be an array (n, d); got {shape}. {_WHOLE}")
                reader.check_dtype(container.dtype(name), name)
            reader.check(columns_only=True)
            counts = {name: container.shape(name)[0] for name in reader.modalities}
            rows = {name: container.rows(name, reader.scale) for name in reader.modalities}
            labels, groups = (reader.column(name, counts) for name in ("labels", "group"))
            has_split = any(name.startswith("split") for name in container.names)
        return counts, rows, labels, groups, has_split


def _cut(column: Any, part: Mapping[str, slice]) -> Any:
    if isinstance(column, Mapping):
        return {name: values[part[name]] for name, values in column.items()}
    return None if column is None else column[next(iter(part.values()))]


_WHOLE = "Read it by `read_features`, and write its means by `write_features`."
