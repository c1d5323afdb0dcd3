"""Write what a library is searched by into one file, for other programs: Parquet or npz.

A row is one window of one file in one modality: id, path, label, content, modality, window, start,
end, vector. Vectors are of unit length in the active embedding, so a cosine is a dot product.
Beside the rows stands `about`, a JSON text: what made them (in Parquet in the file's metadata).
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from earsight import __version__
from earsight.arrays import FloatArray
from earsight.errors import EarsightError, InputError, LibraryError
from earsight.library.catalog.open import open_library
from earsight.library.catalog.records import Clip, Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.extraction import TEXT
from earsight.library.embedding.vector_location import open_table
from earsight.library.progress import Progress, Silent
from earsight.storage import Location
from earsight.vectors import VectorTable

_CHUNK = 2048  # clips written at a time
_TEXTS = ("path", "label", "content", "modality")


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written.

    Attributes:
        file: Where.
        n_clips: Clips with at least one row; the texts beside them have rows and are not counted.
        n_rows: Rows; dim: width of their vectors.
        space: The active embedding: "words", or "words + NAME".
        bytes: Size of the file.
    """

    file: Path
    n_clips: int
    n_rows: int
    dim: int
    space: str
    bytes: int


def export_library(
    library: str | Location, file: Path, *, force: bool = False, progress: Progress | None = None
) -> ExportReport:
    """Write the clips of a library and their vectors to a `.parquet` or `.npz` file.

    The file stands whole or not at all; one that was there stays until the new one stands.

    Args:
        library: The clips folder, or the library folder itself.
        file: Its ending says which format.
        force: Replace a file that is there.
        progress: Is told of each clip.

    Raises:
        InputError: Another ending, or the file is there already.
        LibraryError: No library, no embedding yet, or the file cannot be written.
    """
    file = Path(file)
    if file.suffix not in _WRITERS:
        raise InputError(f"export writes {' and '.join(_WRITERS)} files; got {file.name!r}.")
    if file.is_dir() or (file.exists() and not force):
        raise InputError(f"{file} is there already. Name another file, or replace it: --force.")
    with open_library(library) as store:
        while True:
            current = store.current()
            if current is None:
                raise LibraryError(
                    f"The library {store.folder} cannot be exported yet: no index has come to its "
                    f"end. Run: {store.index_command}"
                )
            try:
                return _export(store, current, file, progress or Silent())
            except LibraryError:
                # An index that ended just now may have replaced what was being read.
                if store.current() == current:
                    raise


def _export(store: Catalog, current: Embedding, file: Path, progress: Progress) -> ExportReport:
    table = open_table(store, current)
    clips = store.files()
    about = {
        "made_by": f"earsight {__version__}",
        "library": str(store.folder),
        "clips": store.root_name,
        "space": current.info["space"],
        "embedding_made": current.made,
        "extractors": current.info["sources"],
    }
    n_clips = n_rows = 0
    with _whole_or_not(file) as draft:
        writer = _WRITERS[file.suffix](draft, table.dim, json.dumps(about))
        try:
            progress.start("Exporting clips", len(clips))
            for start in range(0, len(clips), _CHUNK):
                some = clips[start : start + _CHUNK]
                rows, vectors = _rows(store, table, some)
                writer.write(rows, vectors)
                pairs = zip(rows["id"], rows["modality"], strict=True)
                n_clips += len({number for number, modality in pairs if modality != TEXT})
                n_rows += len(vectors)
                for clip in some:
                    progress.advance(store.name_of(clip))
            progress.finish()
        finally:
            writer.close()
    return ExportReport(
        file=file,
        n_clips=n_clips,
        n_rows=n_rows,
        dim=table.dim,
        space=current.info["space"],
        bytes=file.stat().st_size,
    )


def _rows(
    store: Catalog, table: VectorTable, clips: Sequence[Clip]
) -> tuple[dict[str, list[Any]], FloatArray]:
    """Return columns by name, ordered by path, modality and window, and the vectors (n, dim)."""
    found: dict[str, list[tuple[Any, FloatArray]]] = {}
    for rows, vectors in table.read({"content": sorted({clip.content for clip in clips})}):
        for row, vector in zip(rows, vectors, strict=True):
            found.setdefault(row.content, []).append((row, vector))
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    kept = []
    for clip in clips:
        of_clip = {
            "id": clip.id,
            "path": store.name_of(clip),
            "label": clip.label,
            "content": clip.content,
        }
        pairs = found.get(clip.content, [])
        for row, vector in sorted(pairs, key=lambda pair: (pair[0].modality, pair[0].window)):
            for name, column in columns.items():
                column.append(of_clip[name] if name in of_clip else getattr(row, name))
            kept.append(vector)
    return columns, np.array(kept, np.float32).reshape(len(kept), table.dim)


_COLUMNS = ("id", "path", "label", "content", "modality", "window", "start", "end")


class _Writer(Protocol):
    def __init__(self, file: Path, dim: int, about: str) -> None: ...

    def write(self, rows: dict[str, list[Any]], vectors: FloatArray) -> None: ...

    def close(self) -> None: ...


class _Parquet:
    """Rows go to disk as they come; a label that is none is null."""

    def __init__(self, file: Path, dim: int, about: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = {"id": pa.int64(), "window": pa.int32(), "start": pa.float64()}
        kinds = {**numbers, "end": pa.float64(), **dict.fromkeys(_TEXTS, pa.string())}
        fields = [pa.field(name, kinds[name], name == "label") for name in _COLUMNS]
        fields.append(pa.field("vector", pa.list_(pa.float32(), dim), False))
        self.schema = pa.schema(fields, metadata={"about": about})
        self._dim = dim
        self._to = pq.ParquetWriter(file, self.schema)

    def write(self, rows: dict[str, list[Any]], vectors: FloatArray) -> None:
        import pyarrow as pa

        flat = pa.array(np.ascontiguousarray(vectors).ravel())
        arrays = [*rows.values(), pa.FixedSizeListArray.from_arrays(flat, self._dim)]
        self._to.write_table(pa.table(arrays, schema=self.schema))

    def close(self) -> None:
        self._to.close()


class _Npz:
    """Arrays of equal length, none of objects; a label that is none is an empty text."""

    def __init__(self, file: Path, dim: int, about: str) -> None:
        self._file, self._about = file, about
        self._rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._vectors = [np.zeros((0, dim), np.float32)]

    def write(self, rows: dict[str, list[Any]], vectors: FloatArray) -> None:
        for name, column in rows.items():
            self._rows[name] += column
        self._vectors.append(vectors)

    def close(self) -> None:
        kinds = {"id": np.int64, "window": np.int32, "start": np.float64, "end": np.float64}
        arrays: dict[str, Any] = {
            name: np.array([one or "" for one in column], np.str_)
            if name in _TEXTS
            else np.array(column, kinds[name])
            for name, column in self._rows.items()
        }
        with self._file.open("wb") as out:
            np.savez(out, about=self._about, vector=np.concatenate(self._vectors), **arrays)


_WRITERS: dict[str, type[_Writer]] = {".parquet": _Parquet, ".npz": _Npz}


@contextmanager
def _whole_or_not(file: Path) -> Iterator[Path]:
    """Give a name to write under; what was written there becomes `file` if all goes well."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(file)
    except EarsightError:
        raise
    except OSError as error:
        raise LibraryError(
            f"{file} could not be written: {error}.{_free(file)} Nothing of it was kept."
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _free(file: Path) -> str:
    if not file.parent.is_dir():
        return f" There is no folder {file.parent}."
    return f" {shutil.disk_usage(file.parent).free / 2**20:.0f} MiB are free on its disk."
