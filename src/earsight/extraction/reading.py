"""Reading the clips that are new: in processes of this machine, or of a cluster."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from earsight import engine
from earsight.errors import NoRowsError, StorageError, WeightsError
from earsight.extraction.sharding import Part
from earsight.extraction.sources import Origin
from earsight.extraction.staging import Record, Staging
from earsight.extraction.table import Features, Held
from earsight.extractors import FeatureExtractor, extract_all
from earsight.extractors.runtime.threads import use_one_thread
from earsight.features import FeatureSequence
from earsight.library.catalog.records import Clip
from earsight.library.catalog.scan import File
from earsight.library.embedding.extraction import extractor_for
from earsight.library.progress import Progress
from earsight.media import Status
from earsight.paths import as_text
from earsight.untrusted import content_hash

Specs = tuple[tuple[str, str], ...]
Run = Callable[..., Iterator[tuple[Any, Any]]]
"""`engine.run`, or the same of a cluster."""


def extractors_of(asked: Specs) -> dict[str, FeatureExtractor]:
    """Return modality → extractor."""
    return {modality: extractor_for(modality, spec) for modality, spec in asked}


@cache
def _of_this_run(asked: Specs, fingerprints: tuple[str, ...]) -> dict[str, FeatureExtractor]:
    """Return a worker's extractors: the very ones that the file is made with.

    Raises:
        WeightsError: Their files have changed since the run began.
    """
    extractors = extractors_of(asked)
    for (_, spec), extractor, meant in zip(asked, extractors.values(), fingerprints, strict=True):
        extractor.fetch_weights()  # a worker may be on another machine
        if extractor.fingerprint != meant:
            raise WeightsError(
                f"The weights of {spec} must stay as they are during a run; they are others now, "
                f"by the fingerprint {extractor.fingerprint[:12]} for {meant[:12]}. Run the same "
                "command again."
            )
    return extractors


@dataclass(frozen=True)
class _Job:
    origin: Origin
    file: File
    asked: Specs
    fingerprints: tuple[str, ...]


def _do(job: _Job) -> tuple[Record, dict[str, FeatureSequence]]:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    try:
        with job.origin.opened(job.file.path) as path:
            content = content_hash(path)
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
        path=os.fsdecode(job.file.path),
        size=job.file.size,
        mtime_ns=job.file.mtime_ns,
        content=content,
        status=str(report.status),
        message=report.message,
        seconds=report.duration,
        has=tuple(has),
    )
    return record, has


def _failed(file: File, message: str) -> tuple[Record, dict[str, FeatureSequence]]:
    """Return the record of a clip that failed for a reason that may pass."""
    record = Record(
        path=os.fsdecode(file.path),
        size=file.size,
        mtime_ns=file.mtime_ns,
        content=hashlib.sha256(b"failed\0" + file.path).hexdigest(),
        status=str(Status.UNREADABLE),
        message=message,
        seconds=0.0,
        again=True,
    )
    return record, {}


@dataclass
class Reading:
    """One run over the clips of a folder or an address.

    Attributes:
        origin: Where the clips are.
        features: Modality → what makes its features.
        staged: What an unfinished run read, and what this one reads.
        part: Which part of the clips; None: all.
        progress: Is told what happens.
    """

    origin: Origin
    features: Features
    staged: Staging
    part: Part | None
    progress: Progress

    @property
    def fingerprints(self) -> dict[str, str]:
        """Modality → fingerprint of its extractor."""
        return {m: facts["fingerprint"] for m, facts in self.features.items()}

    def read(
        self, held: Held, exclude: Sequence[str], *, run: Run | None, workers: int | None
    ) -> tuple[list[Record], list[str], int]:
        """Read what is new of the part.

        Args:
            held: What the file holds already.
            exclude: Patterns of files and folders to leave out.
            run, workers: As `extract` takes them.

        Returns:
            The record of every clip of the part, by path; the names of all clips of the folder,
            those of other parts included; how many clips were decoded.
        """
        self.staged.clear()
        if self.staged.start(self.fingerprints):
            self.progress.say("What an unfinished run read with other extractors is removed.")
        known = {record.path: record for record in held.records}
        staged = self.staged.records()
        known |= {record.path: record for record in staged.values()}

        def is_there(record: Record) -> bool:  # its features are kept, or it has no row
            kept = record.content in held.rows or record.content in staged
            return not record.again and (kept or len(record.has) < len(self.features))

        found = self.origin.scan(map(_as_clip, known.values()), exclude)
        for path, why in (found.closed | found.odd).items():
            self.progress.say(f"{as_text(path)}: {why}")
        names = sorted([*(c.path for c in found.same), *(f.path for f in found.fresh)])
        mine = {path for path in names if self.part is None or self.part.holds(path)}
        kept = {c.path: known[os.fsdecode(c.path)] for c in found.same if c.path in mine}
        stale = [_as_file(r) for r in kept.values() if not is_there(r)]
        fresh = [file for file in found.fresh if file.path in mine]
        work = sorted([*fresh, *stale], key=lambda file: file.path)
        if not kept and not work:
            where = f" of part {self.part}" if self.part else ""
            raise NoRowsError(f"{self.origin} holds nothing playable{where}.")
        by_content = {r.content: r for r in known.values() if is_there(r)}
        records = dict(kept)
        self.progress.start("Reading clips", len(work))
        n_read = 0
        for file, record, decoded in self._records(work, by_content, run=run, workers=workers):
            records[file.path] = record
            n_read += decoded
            self.progress.advance(as_text(file.path))
        self.progress.finish()
        whole = [records[path] for path in sorted(records)]
        return whole, [as_text(path) for path in names], n_read

    def _records(
        self,
        work: list[File],
        by_content: dict[str, Record],
        *,
        run: Run | None,
        workers: int | None,
    ) -> Iterator[tuple[File, Record, bool]]:
        """Yield each file with its record, and whether it was decoded.

        A file of the size of a known one may be that one, moved or copied: it is hashed first.
        """
        sizes = {record.size for record in by_content.values()}
        asked = tuple((m, facts["extractor"]) for m, facts in self.features.items())
        fingerprints = tuple(self.fingerprints.values())
        jobs = []
        for file in work:
            content = self._content(file) if file.size in sizes else None
            if content in by_content:
                yield file, by_content[content].at(file), False
            else:
                jobs.append(_Job(self.origin, file, asked, fingerprints))
        if run is None and workers is None:
            workers = engine.default_workers()
        read: Run = run or engine.run
        for job, result in read(_do, jobs, workers=workers, start=use_one_thread):
            if isinstance(result, engine.WorkerDied):
                result = _failed(job.file, str(result))
            record, found = result
            if not record.again:
                self.staged.write(record, found)
            yield job.file, record, True

    def _content(self, file: File) -> str | None:
        try:
            with self.origin.opened(file.path) as path:
                return content_hash(path)
        except (OSError, StorageError):  # the worker meets it again, and says so
            return None


def _as_clip(record: Record) -> Clip:
    path = os.fsencode(record.path)
    return Clip(0, path, record.size, record.mtime_ns, record.content, None)


def _as_file(record: Record) -> File:
    return File(os.fsencode(record.path), record.size, record.mtime_ns)
