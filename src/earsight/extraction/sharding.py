"""Extraction cut into parts for many machines, and the parts put together again."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from earsight.errors import FeatureFileError, InputError
from earsight.extraction.remote_output import working_copy
from earsight.extraction.staging import Staging
from earsight.extraction.table import (
    CLIPS,
    MOST_PARTS,
    PART,
    Held,
    Table,
    check_made,
    fingerprints,
    joined,
)
from earsight.features import PairedFeatures, check_ending, read_features, write_features
from earsight.paths import as_text
from earsight.storage import Location


@dataclass(frozen=True)
class Part:
    """One of `of` parts of a folder's clips, counted from 1.

    A clip belongs to part i of n where SHA-256(path)[:8] mod n = i − 1: the first eight bytes of
    the digest of its relative path, as a big-endian integer. So every machine cuts alike, and a
    clip stays in its part whatever else is in the folder.

    >>> Part.parse("1/2").holds(b"dogs/a.mp4"), Part.parse("2/2").holds(b"dogs/a.mp4")
    (True, False)
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read `i/n`.

        Raises:
            InputError: It is not of that form, or i is not from 1 to n.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MOST_PARTS:
            raise InputError(
                f"`part` must be i/n with i from 1 to n, such as 3/10; got {text!r}. n may be up "
                f"to {MOST_PARTS:,}."
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, path: bytes) -> bool:
        """Return whether a clip, by its path relative to the folder, belongs to this part."""
        digest = hashlib.sha256(path).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def facts(self, labels: str) -> dict[str, Any]:
        """Return what a part's file says of itself; a label file is told by its SHA-256."""
        if labels not in ("folders", "none"):
            labels = hashlib.sha256(Path(labels).read_bytes()).hexdigest()
        return {"number": self.number, "of": self.of, "labels": labels}


@dataclass(frozen=True)
class Joined:
    """What `join` did.

    Attributes:
        output: The file, or its address.
        n_rows: Clips in it.
        n_clips: Clips that were met, those without a row included.
        missing: Numbers of the parts that were not given.
    """

    output: Location
    n_rows: int
    n_clips: int
    missing: tuple[int, ...] = ()


def join(files: Sequence[Location], output: Location, *, partial: bool = False) -> Joined:
    """Put the parts of one folder together: what one run would have written, in every array.

    Rows come by the path of their clips. No part is changed, and `output` is put in place when it
    is whole; `extract` without a part brings it up to date, missing parts included.

    Args:
        files: What `extract` wrote for each part, in any order; those on S3 are copied to a private
            folder meanwhile.
        output: An .h5, .hdf5 or .npz file, or an address on S3; one that `extract` made with the
            same extractors is replaced.
        partial: Whether parts may be missing; a part in which no clip has a row has no file.

    Raises:
        FeatureFileError: A file is no part, or the parts differ in their extractors, number, label
            settings or in having labels, or one is there twice or missing; or `output` is one of
            them or of other hands.
        LibraryError: Another run is at work on `output`.
        StorageError: An address cannot be reached, read or written.
    """
    check_ending(Path(output.name))
    if len(set(files)) < len(files) or any(_is_same_file(file, output) for file in files):
        raise FeatureFileError(f"Each part must be given once, and {output} must be none of them.")
    with TemporaryDirectory(prefix="earsight-") as folder:
        data = {file: _read(file, Path(folder) / str(i)) for i, file in enumerate(files)}
        return _join(data, output, partial)


def _read(file: Location, folder: Path) -> PairedFeatures:
    if isinstance(file, Path):
        return read_features(file)
    folder.mkdir()
    local = folder / file.name
    check_ending(local)
    file.download(local)
    try:
        return read_features(local)
    except FeatureFileError as error:
        raise FeatureFileError(str(error).replace(str(local), str(file))) from error


def _join(data: Mapping[Location, PairedFeatures], output: Location, partial: bool) -> Joined:
    missing = _check(data, partial)
    ordered = sorted(data.items(), key=lambda item: item[1].provenance[PART]["number"])
    first = ordered[0][1]
    features = {m: first.provenance[m] for m in first.views}
    held = [Held.of(part) for _, part in ordered]
    records = sorted(
        (record for part in held for record in part.records), key=lambda r: os.fsencode(r.path)
    )
    made = Table(records, tuple(features), _labels(data.values()))
    rows = {content: row for part in held for content, row in part.rows.items()}
    lost = next((record for record in made.rows if record.content not in rows), None)
    if lost is not None or not made.rows:
        what = "no clip" if lost is None else f"no row of {as_text(os.fsencode(lost.path))!r}"
        raise FeatureFileError(f"The parts hold {what}; run extract --part again.")
    copy = working_copy(output)
    staged = Staging(copy.path)
    with staged.locked(), copy:
        Held.open(copy.path, features)
        write_features(copy.path, joined(made, Held(None, tuple(records), rows), staged, features))
        copy.send()
    return Joined(output, len(made.rows), len(records), missing)


def _is_same_file(one: Location, other: Location) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def _check(data: Mapping[Location, PairedFeatures], partial: bool) -> tuple[int, ...]:
    """Check that files are parts of one whole; return the numbers of those that are missing."""
    if not data:
        raise InputError("`files` must name the parts to join; got none.")
    for path, part in data.items():
        if not {PART, CLIPS} <= part.provenance.keys():
            raise FeatureFileError(f"{path} is no part: it was not made by extract --part i/n.")
        check_made(part, path)
    _alike(data, "extractors", fingerprints)
    _alike(data, "widths", lambda part: {m: view.shape[1] for m, view in part.views.items()})
    _alike(data, "number of parts", lambda part: part.provenance[PART]["of"])
    _alike(data, "label setting", lambda part: part.provenance[PART]["labels"])
    _alike(data, "having labels", lambda part: part.labels is not None)
    by_number: dict[int, Location] = {}
    for path, part in data.items():
        number = part.provenance[PART]["number"]
        if number in by_number:
            raise FeatureFileError(f"{by_number[number]} and {path} are both part {number}.")
        by_number[number] = path
    of = next(iter(data.values())).provenance[PART]["of"]
    missing = tuple(number for number in range(1, of + 1) if number not in by_number)
    if missing and not partial:
        raise FeatureFileError(
            f"All {of} parts must be there; missing: {', '.join(map(str, missing))}. Give them, or "
            "--partial to join what there is."
        )
    return missing


def _alike(
    data: Mapping[Location, PairedFeatures],
    what: str,
    fact: Callable[[PairedFeatures], object],
) -> None:
    (first, part), *others = data.items()
    for path, other in others:
        if fact(other) != fact(part):
            raise FeatureFileError(
                f"Parts must agree in their {what}; {first} has {fact(part)} and {path} "
                f"{fact(other)}. Run extract --part again, alike for all."
            )


def _labels(parts: Iterable[PairedFeatures]) -> dict[str, str]:
    """Return id → label over all parts."""
    return {
        name: label
        for part in parts
        if part.labels is not None
        for name, label in zip(
            np.asarray(part.ids).tolist(), np.asarray(part.labels).tolist(), strict=True
        )
    }
