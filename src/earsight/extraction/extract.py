"""Features of a folder of clips in one file, kept up to date: only what is new is read.

Until the file is whole, what was read lies beside it, a small file for each clip (`staging`); a
killed run goes on from there. The file holds a row for each clip that has all the modalities asked
for: its mean and its steps with their times, its label, its path as `ids`, its content as `group`,
so that copies are never apart. Its provenance holds the extractors (`features.files`) and, under
"clips", a record of every clip that was met, with its status.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight import __version__
from earsight.errors import InputError, NoRowsError
from earsight.extraction.reading import Reading, Run, extractors_of
from earsight.extraction.remote_output import working_copy
from earsight.extraction.sharding import Part
from earsight.extraction.sources import Origin, origin_of
from earsight.extraction.staging import Staging
from earsight.extraction.table import Held, Table, check_setting, joined, labels_of
from earsight.extractors import FeatureExtractor
from earsight.features import check_ending, write_features
from earsight.library.catalog.records import MODALITIES
from earsight.library.progress import Progress, Silent
from earsight.storage import Location


@dataclass(frozen=True)
class Extraction:
    """What `extract` did, and what the file holds now.

    Attributes:
        output: The file, or its address.
        n_clips: Files in the folder.
        n_rows: Clips in the file.
        n_read: Clips that were decoded in this run.
        features: Modality → what made them; `dim` and `hop` among it.
        labels: Class → number of clips.
        trouble: (path, status, message) of every clip that is not whole.
        left_out: (path, why) of every whole clip without a row.
        written: Whether the file was written; not, where nothing has changed.
        seconds: Wall-clock time.
    """

    output: Location
    n_clips: int
    n_rows: int
    n_read: int
    features: dict[str, dict[str, Any]]
    labels: dict[str, int]
    trouble: list[tuple[str, str, str]]
    left_out: list[tuple[str, str]]
    written: bool
    seconds: float

    @classmethod
    def of(cls, made: Table, **known: Any) -> "Extraction":
        """Return the report of a run that made the rows of a file; the other facts are `known`."""
        return cls(
            n_clips=len(made.records),
            n_rows=len(made.rows),
            labels=dict(Counter(made.labels.values()).most_common()),
            trouble=made.trouble(),
            left_out=made.left_out(),
            **known,
        )


def extract(
    clips: Location,
    output: Location,
    specs: Mapping[str, str],
    *,
    labels: str = "folders",
    part: Part | None = None,
    exclude: Sequence[str] = (),
    workers: int | None = None,
    run: Run | None = None,
    progress: Progress | None = None,
) -> Extraction:
    """Bring a feature file of a folder of clips up to date.

    Args:
        clips: The folder, or an address on S3; a clip there is copied while it is read.
        output: An .h5, .hdf5 or .npz file. One on S3 is worked on in the cache folder, and sent
            when it is whole.
        specs: Modality → extractor, such as {"audio": "vggish", "visual": "inception:fps=2"}.
        labels: "folders" (the first level, where it makes classes), "none", or a CSV file. Where
            some clips have a label, those without one get no row.
        part: Which part of the clips; None: all. Labels are those of the whole folder.
        exclude: Patterns of files and folders to leave out.
        workers: Processes; default: the cores.
        run: How clips are read: `engine.run`, in processes of this machine (the default), or the
            same of a cluster.
        progress: Is told what happens.

    Raises:
        InputError, LabelError: No such extractor, or a CSV file that cannot be read.
        FeatureFileError: `output` has another ending, or is of other extractors, another part or
            other hands.
        LibraryError: No clips or none that can be in the file (`NoRowsError`), or another run is at
            work on it.
        StorageError, WeightsError: An address or weights cannot be had, or were changed meanwhile;
            what was read is kept, and the next run goes on from it.
    """
    begun = time.monotonic()
    check_ending(Path(output.name))
    check_setting(labels)
    features, cut = described(specs), part.facts(labels) if part else {}
    copy = working_copy(output)
    staged = Staging(copy.path)
    reading = Reading(origin_of(clips), features, staged, part, progress or Silent())
    with staged.locked(), copy:
        held = Held.open(copy.path, features, cut)
        records, names, n_read = reading.read(held, exclude, run=run, workers=workers)
        made = Table(records, tuple(specs), labels_of(names, labels))
        if not made.rows:
            raise NoRowsError(_nothing(reading.origin, made))
        if written := not held.is_same(made, cut):
            write_features(copy.path, joined(made, held, staged, features, part=cut))
            copy.send()
        staged.keep(made.waiting)
    seconds = time.monotonic() - begun
    return Extraction.of(
        made, output=output, features=features, n_read=n_read, written=written, seconds=seconds
    )


def described(specs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return modality → what makes its features, ready for JSON; fetch the weights it needs.

    Raises:
        InputError, WeightsError: As `extract`.
    """
    if not specs or not set(specs) <= set(MODALITIES):
        raise InputError(
            f"`specs` must name an extractor for {' or '.join(MODALITIES)}, what clips have; "
            f"got {', '.join(specs) or 'none'}."
        )
    extractors = extractors_of(tuple(specs.items()))
    for extractor in extractors.values():
        extractor.fetch_weights()
    return {m: _facts(specs[m], extractor) for m, extractor in extractors.items()}


def _facts(spec: str, extractor: FeatureExtractor) -> dict[str, Any]:
    """Return what tells of one extractor, ready for JSON."""
    return {
        "extractor": spec,
        "parameters": extractor._fields(),
        "fingerprint": extractor.fingerprint,
        "weights": extractor.checksums,
        "dim": extractor.dim,
        "hop": extractor.hop,
        "space": extractor.space,
        "earsight": __version__,
    }


def _nothing(clips: Origin, made: Table) -> str:
    first = [f"{name}: {why}" for name, _, why in made.trouble()]
    first += [f"{name}: {why}" for name, why in made.left_out()]
    return (
        f"None of the {len(made.records)} clips in {clips} has {' and '.join(made.modalities)}. "
        f"{'; '.join(first[:3])}"
    )
