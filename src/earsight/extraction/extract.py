"""Features of a folder of clips in one file, kept up to date: only what is new is read.

Until the file is whole, what was read lies in parts beside it (`parts`); a killed run goes on from
them. The file holds a row for each clip that has all the modalities asked for: its mean and its
steps with their times, its label, its path as `ids`, its content as `group`, so that copies are
never apart. Its provenance holds the extractors (`features.files`) and, under "clips", a record of
every clip that was met, with its status.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from earsight import __version__, engine
from earsight.errors import InputError, NoRowsError, StorageError, WeightsError
from earsight.extraction.remote_output import Workplace
from earsight.extraction.sharding import Part
from earsight.extraction.sources import Origin, origin_of
from earsight.extraction.staging import Parts, Record
from earsight.extraction.table import Held, Table, check_setting, joined, labels_of
from earsight.extractors import FeatureExtractor, extract_all
from earsight.features import check_ending, write_features
from earsight.library.catalog.records import Clip
from earsight.library.catalog.scan import File, content_of
from earsight.library.embedding.extraction import MODALITIES, extractor_for
from earsight.library.indexing.ingest import _start_worker
from earsight.library.progress import Progress, Silent
from earsight.media import Status
from earsight.paths import as_text
from earsight.storage import Remote

Specs = tuple[tuple[str, str], ...]


@dataclass
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

    output: Path | Remote
    n_clips: int = 0
    n_rows: int = 0
    n_read: int = 0
    features: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    trouble: list[tuple[str, str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    written: bool = False
    seconds: float = 0.0


def extract(
    clips: Path | Remote,
    output: Path | Remote,
    specs: Mapping[str, str],
    *,
    labels: str = "folders",
    part: Part | None = None,
    exclude: Sequence[str] = (),
    workers: int | None = None,
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
        progress: Is told what happens.

    Raises:
        InputError: An extractor that is not there, or of another modality; or none, or of text.
        LabelError: The CSV file cannot be read.
        FeatureFileError: `output` has another ending, or is of other extractors, another part or
            other hands.
        LibraryError: No clips or none that can be in the file (`NoRowsError`), or another run is at
            work on it.
        StorageError: An address cannot be reached, read or written; what was read is kept, and the
            next run goes on from it. Or another wrote to `output` meanwhile.
        WeightsError: Weights cannot be had, or change while the clips are read.
    """
    begun = time.monotonic()
    check_ending(Path(output.name) if isinstance(output, Remote) else output)
    check_setting(labels)
    cut = part.facts(labels) if part else {}
    features = described(specs)
    work = Workplace(output)
    parts = Parts(work.path)
    with parts.locked():
        try:
            work.fetch()
            held = Held.open(work.path, features, cut)
            fingerprints = {m: facts["fingerprint"] for m, facts in features.items()}
            origin = origin_of(clips)
            run = _Run(
                origin, tuple(specs.items()), fingerprints, held, parts, progress or Silent(), part
            )
            run.clear()
            records, names, n_read = run.read(exclude, workers or engine.default_workers())
            made = Table(records, tuple(specs), labels_of(names, labels))
            if not made.rows:
                raise NoRowsError(_nothing(origin, made))
            report = Extraction(output, len(records), len(made.rows), n_read, features)
            changed = not held.is_same(made, cut)
            if changed:
                write_features(work.path, joined(made, held, parts, features, cut))
            report.written = work.send(changed=changed)
            parts.keep(made.waiting)  # what could not be sent may have to be put together again
            work.leave()
        finally:
            parts.tidy()
            work.tidy()
    report.labels = dict(Counter(made.labels.values()).most_common())
    report.trouble, report.left_out = made.trouble(), made.left_out()
    report.seconds = time.monotonic() - begun
    return report


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
    extractors = _extractors(tuple(specs.items()))
    for extractor in extractors.values():
        extractor.fetch_weights()
    return {m: _facts(specs[m], extractor) for m, extractor in extractors.items()}


def _extractors(asked: Specs) -> dict[str, FeatureExtractor]:
    return {modality: extractor_for(modality, spec) for modality, spec in asked}


@cache
def _of_this_run(asked: Specs, fingerprints: tuple[str, ...]) -> dict[str, FeatureExtractor]:
    """Return a worker's extractors: the very ones that the file is made with.

    Raises:
        WeightsError: Their files have changed since the run began.
    """
    extractors = _extractors(asked)
    for (_, spec), extractor, meant in zip(asked, extractors.values(), fingerprints, strict=True):
        if extractor.fingerprint != meant:
            raise WeightsError(
                f"The weights of {spec} must stay as they are during a run; they are others now, "
                f"by the fingerprint {extractor.fingerprint[:12]} for {meant[:12]}. Run the same "
                "command again."
            )
    return extractors


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


@dataclass(frozen=True)
class _Job:
    origin: Origin
    file: File
    asked: Specs
    fingerprints: tuple[str, ...]
    parts: Parts


def _do(job: _Job) -> Record:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    try:
        with job.origin.opened(job.file.path) as path:
            content = content_of(path)
            extractors = _of_this_run(job.asked, job.fingerprints)
            found, report = extract_all(path, extractors.values())
        if job.origin.state(job.file.path) != job.file:
            return _failed(job.file, "It changed while it was being read.")
    except (WeightsError, MemoryError):
        raise  # not this clip's fault: the next one would fail as well
    except StorageError as error:
        return _failed(job.file, str(error))
    except OSError as error:
        return _failed(job.file, f"It cannot be opened: {error.strerror}.")
    except Exception as error:
        return _failed(job.file, f"Reading it failed: {type(error).__name__}: {error}")
    has = {m: found[e.key()] for m, e in extractors.items() if len(found.get(e.key(), ()))}
    record = Record(
        os.fsdecode(job.file.path),
        job.file.size,
        job.file.mtime_ns,
        content,
        str(report.status),
        report.message,
        report.duration,
        tuple(has),
    )
    job.parts.write(record, has)
    return record


def _failed(file: File, message: str) -> Record:
    """Return the record of a clip that failed for a reason that may pass."""
    path = os.fsdecode(file.path)
    content = hashlib.sha256(b"failed\0" + file.path).hexdigest()
    status = str(Status.UNREADABLE)
    return Record(path, file.size, file.mtime_ns, content, status, message, 0.0, again=True)


@dataclass
class _Run:
    """One run over the clips of a place."""

    origin: Origin
    asked: Specs
    fingerprints: Mapping[str, str]
    held: Held
    parts: Parts
    progress: Progress
    part: Part | None

    def clear(self) -> None:
        """Remove what killed runs left that cannot be used: half files, parts of others."""
        self.parts.clear()
        if self.parts.start(self.fingerprints):
            self.progress.say("What an unfinished run had read with other extractors is removed.")

    def read(self, exclude: Sequence[str], workers: int) -> tuple[list[Record], list[str], int]:
        """Read what is new of the part.

        Returns:
            The record of every clip of the part, by path; the names of all clips of the folder,
            those of other parts included; how many clips were decoded.
        """
        known = {record.path: record for record in self.held.records}
        parts = self.parts.records()
        known |= {record.path: record for record in parts.values()}
        found = self.origin.scan(map(_as_clip, known.values()), exclude)
        for path, why in (found.closed | found.odd).items():
            self.progress.say(f"{as_text(path)}: {why}")
        names = sorted([*(c.path for c in found.same), *(f.path for f in found.fresh)])
        mine = {path for path in names if self.part is None or self.part.holds(path)}
        kept = {c.path: known[os.fsdecode(c.path)] for c in found.same if c.path in mine}
        stale = [_as_file(r) for r in kept.values() if r.again or not self._is_there(r, parts)]
        fresh = [file for file in found.fresh if file.path in mine]
        work = sorted([*fresh, *stale], key=lambda file: file.path)
        if not kept and not work:
            where = f" of part {self.part}" if self.part else ""
            raise NoRowsError(f"{self.origin} holds nothing playable{where}.")
        by_content = {r.content: r for r in known.values() if self._is_there(r, parts)}
        records = dict(kept)
        self.progress.start("Reading clips", len(work))
        n_read = 0
        for file, record, decoded in self._records(work, by_content, workers):
            records[file.path] = record
            n_read += decoded
            self.progress.advance(as_text(file.path))
        self.progress.finish()
        whole = [records[path] for path in sorted(records)]
        return whole, [as_text(path) for path in names], n_read

    def _is_there(self, record: Record, parts: Mapping[str, Record]) -> bool:
        """Whether nothing must be read for a record: its features are kept, or it has no row."""
        held = record.content in self.held.rows or record.content in parts
        return not record.again and (held or len(record.has) < len(self.asked))

    def _records(
        self, work: list[File], by_content: dict[str, Record], workers: int
    ) -> Iterator[tuple[File, Record, bool]]:
        """Yield each file with its record, and whether it was decoded.

        A file of the size of a known one may be that one, moved or copied: it is hashed first.
        """
        sizes = {record.size for record in by_content.values()}
        fingerprints = tuple(self.fingerprints.values())
        jobs = []
        for file in work:
            content = self._content(file) if file.size in sizes else None
            if content in by_content:
                yield file, by_content[content].at(file), False
            else:
                jobs.append(_Job(self.origin, file, self.asked, fingerprints, self.parts))
        for job, result in engine.run(_do, jobs, workers=workers, start=_start_worker):
            if isinstance(result, engine.WorkerDied):
                result = _failed(job.file, str(result))
            yield job.file, result, True

    def _content(self, file: File) -> str | None:
        try:
            with self.origin.opened(file.path) as path:
                return content_of(path)
        except (OSError, StorageError):  # the worker meets it again, and says so
            return None


def _as_clip(record: Record) -> Clip:
    path = os.fsencode(record.path)
    return Clip(0, path, record.size, record.mtime_ns, record.content, None)


def _as_file(record: Record) -> File:
    return File(os.fsencode(record.path), record.size, record.mtime_ns)


def _nothing(clips: Origin, made: Table) -> str:
    first = [f"{name}: {why}" for name, _, why in made.trouble()]
    first += [f"{name}: {why}" for name, why in made.left_out()]
    return (
        f"None of the {len(made.records)} clips in {clips} has {' and '.join(made.modalities)}. "
        f"{'; '.join(first[:3])}"
    )
