"""Read the clips that are new or changed, and acknowledge each once its vectors are written."""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from earsight import engine
from earsight.errors import WeightsError
from earsight.extractors.runtime.threads import use_one_thread
from earsight.library.catalog.records import is_text
from earsight.library.catalog.scan import File, Scan, match_moves
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.extraction import (
    Extracted,
    Sources,
    read_clip,
    stored_content,
)
from earsight.library.embedding.feature_tables import FeatureTables
from earsight.library.embedding.text_rows import read_text
from earsight.library.progress import Progress
from earsight.media import Report
from earsight.paths import as_text
from earsight.prefetch import ahead
from earsight.untrusted import content_hash

_BATCH_CLIPS = 2048  # at most so many clips, or …
_BATCH_BYTES = 32 << 20  # … so much of what was read of them, or …
_BATCH_SECONDS = 1.0  # … so many seconds a clip waits to be acknowledged; or longer, where …
_BATCH_SHARE = 0.05  # … writing would take more than this part of the time; but not longer than …
_BATCH_PATIENCE = 10.0  # … so many seconds
_MERGE_EVERY = 20, 200  # batches, at first and later: each leaves a small file in every table
_HASHED_AHEAD = 16  # files that wait, hashed, for their turn
_CHECK_SECONDS = 1.0  # after so many a worker looks again whether its extractors are the same


@dataclass(frozen=True)
class Changes:
    """What `ingest` did: numbers of clips, and of texts that were read or are gone.

    Attributes:
        added: New files, and files with a new content.
        again: Clips that were read again.
        moved, gone, unchanged: The others.
        texts: Texts beside clips that were read or are gone.
    """

    added: int = 0
    again: int = 0
    moved: int = 0
    gone: int = 0
    unchanged: int = 0
    texts: int = 0


def ingest(
    catalog: Catalog, found: Scan, sources: Sources, *, workers: int, progress: Progress
) -> Changes:
    """Read what is new or changed since the last scan, and write it into the catalog and tables.

    A known content (a moved or copied file) is not read again. Clips that other extractors have
    read are read again, and stay as they were until all are done.

    Raises:
        LibraryError: Something could not be written; what was acknowledged stays.
    """
    contents = catalog.contents(sources.fingerprint)
    done = {name for name, content in contents.items() if not content.report["again"]}
    stale = [
        File(one.path, one.size, one.mtime_ns)
        for one in (*found.same, *found.texts.same)
        if one.content not in done
    ]
    work = found.fresh + found.texts.fresh + stale
    known = {file.path: file.content for file in catalog.files()}
    changed = []
    if work:
        sources.prepare()
        writer = _Writer(catalog, sources)
        progress.start("Reading clips", len(work))

        def write(file: File, content: str, extracted: Extracted | None) -> None:
            writer.add(file, content, extracted)
            if known.get(file.path) != content:
                changed.append((file, content))
            progress.advance(as_text(file.path))

        twins = _may_have_twins(work, {one.size for one in catalog.files()})
        _Reader(catalog.root, done, sources, write).read(twins, workers, writer.tick)
        writer.flush()
        progress.finish()
    moved = match_moves(found.missing, [(f, c) for f, c in changed if f.path not in known])
    gone = [one.path for one in (*found.missing, *found.texts.missing) if one.path not in moved]
    if moved or gone:
        catalog.move_and_drop(moved, gone)
    return _count(found, changed, stale, len(moved))


def _count(
    found: Scan, changed: list[tuple[File, str]], stale: list[File], n_moved: int
) -> Changes:
    new = [file for file, _ in changed if not is_text(file.path)]
    new_texts = {content for file, content in changed if is_text(file.path)}
    again = [file for file in stale if not is_text(file.path)]
    texts_gone = sum(text.content not in new_texts for text in found.texts.missing)
    return Changes(
        added=len(new) - n_moved,
        again=len(again),
        moved=n_moved,
        gone=len(found.missing) - n_moved,
        unchanged=len(found.same) + len(found.fresh) - len(again) - len(new),
        texts=len(changed) - len(new) + len(stale) - len(again) + texts_gone,
    )


@dataclass(frozen=True)
class _Job:
    path: Path
    file: File
    content: str | None  # None: the worker finds out
    sources: Sources
    features: str  # the fingerprint that the tables are of


def _may_have_twins(work: list[File], sizes: set[int]) -> list[tuple[File, bool]]:
    """Return each file with whether its size is that of a known clip or of another file."""
    counts = Counter(file.size for file in work)
    return [(file, file.size in sizes or counts[file.size] > 1) for file in work]


_checked: dict[tuple[Sources, str], float] = {}


def _check(sources: Sources, features: str) -> None:
    """Check, once a second, that the extractors are those that the tables are of.

    Raises:
        WeightsError: A file of theirs is another one now.
    """
    key, now = (sources, features), time.monotonic()
    if now - _checked.get(key, -math.inf) < _CHECK_SECONDS:
        return
    if sources.fingerprint != features:
        raise WeightsError(
            "The files of an extractor changed during this run, and they must not. Nothing that "
            "was read after the change was kept. Run the same command again."
        )
    _checked[key] = now


def _do(job: _Job) -> tuple[str, Extracted | str]:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    content = job.content or ""
    try:
        _check(job.sources, job.features)
        content = content or content_hash(job.path)
        read = read_text if is_text(job.file.path) else read_clip
        extracted = read(job.path, job.sources)
        info = job.path.stat()
        if (info.st_size, info.st_mtime_ns) != (job.file.size, job.file.mtime_ns):
            return content, "It changed while it was being read."
        return content, extracted
    except (WeightsError, MemoryError):
        raise  # not this clip's fault: the next one would fail as well
    except OSError as error:
        return content, f"It cannot be opened: {error.strerror}."
    except Exception as error:
        return content, f"Reading it failed: {type(error).__name__}: {error}"


class _Reader:
    """Reads files, and gives each to `write` with its content and what was read of it.

    A file whose size is that of another one may be known already, so it is hashed here, just before
    its turn; the others are hashed by the worker that decodes them.
    """

    def __init__(
        self,
        root: Path,
        done: set[str],
        sources: Sources,
        write: Callable[[File, str, Extracted | None], None],
    ) -> None:
        self._root, self._done, self._sources, self._write = root, done, sources, write
        self._features = sources.fingerprint
        self._twins: dict[str, list[File]] = {}  # files whose content another one will bring

    def read(
        self, work: Iterable[tuple[File, bool]], workers: int, tick: Callable[[], None]
    ) -> None:
        """Read files; each comes with whether its content may be known already."""
        jobs = self._jobs(work)
        for job, result in engine.run(_do, jobs, workers=workers, start=use_one_thread, tick=tick):
            if isinstance(result, engine.WorkerDied):
                self._write(*_failed(job.file, job.content or "", str(result)))
                continue
            content, extracted = result
            if isinstance(extracted, str):
                self._write(*_failed(job.file, content, extracted))
            else:
                self._write(job.file, content, extracted)
        for content, files in self._twins.items():
            for file in files:
                self._write(file, content, None)

    def _jobs(self, work: Iterable[tuple[File, bool]]) -> Iterator[_Job]:
        with closing(ahead(map(self._hashed, work), _HASHED_AHEAD)) as hashed:
            for file, path, content in hashed:
                if isinstance(content, OSError):
                    self._write(*_failed(file, "", f"It cannot be opened: {content.strerror}."))
                elif content in self._done:
                    self._write(file, content, None)
                elif content in self._twins:
                    self._twins[content].append(file)
                else:
                    if content is not None:
                        self._twins[content] = []
                    yield _Job(path, file, content, self._sources, self._features)

    def _hashed(self, one: tuple[File, bool]) -> tuple[File, Path, str | OSError | None]:
        file, may_be_known = one
        path = self._root / os.fsdecode(file.path)
        try:
            return file, path, content_hash(path) if may_be_known else None
        except OSError as error:
            return file, path, error


def _failed(file: File, content: str, message: str) -> tuple[File, str, Extracted]:
    """Return the entry of a file that failed for a reason that may pass."""
    # What was hashed may not be what was read: the entry is the file's own, not the content's.
    content = hashlib.sha256(b"failed\0" + file.path + content.encode()).hexdigest()
    return file, content, Extracted(Report(message=message), [], {}, again=True)


class _Writer:
    """Writes vectors first, then acknowledges their clips; in batches, because commits are slow."""

    def __init__(self, catalog: Catalog, sources: Sources) -> None:
        self._catalog, self._sources = catalog, sources
        self._features = sources.fingerprint
        self._tables = FeatureTables(catalog.folder, self._features, sources.roles)
        self._tables.create(sources)
        self._fresh: dict[str, Extracted] = {}
        self._files: list[tuple[File, str]] = []
        self._oldest, self._bytes = 0.0, 0
        self._wait = _BATCH_SECONDS
        self._flushes = self._merged = 0

    def add(self, file: File, content: str, extracted: Extracted | None) -> None:
        if not self._files:
            self._oldest = time.monotonic()
        self._files.append((file, content))
        if extracted is not None:
            self._fresh[content] = extracted
            self._bytes += _size_of(extracted)
        if len(self._files) >= _BATCH_CLIPS or self._bytes >= _BATCH_BYTES:
            self.flush()
        self.tick()

    def tick(self) -> None:
        """Acknowledge what has waited long enough."""
        if self._files and time.monotonic() - self._oldest > self._wait:
            self.flush()

    def flush(self) -> None:
        if not self._files:
            return
        begun = time.monotonic()
        _checked.clear()  # what was read since the last look is believed only after this one
        _check(self._sources, self._features)
        self._tables.add(self._fresh)
        self._flushes += 1
        # Small files slow every write, and merging takes as long as the tables are: a quarter more
        # batches, and it is worth it again.
        least, most = _MERGE_EVERY
        if self._flushes - self._merged >= min(max(least, self._merged // 4), most):
            self._merged = self._flushes
            self._tables.optimize()
        read = [stored_content(name, extracted) for name, extracted in self._fresh.items()]
        clips = [(file.path, file.size, file.mtime_ns, content) for file, content in self._files]
        self._catalog.put_clips(clips, self._features, read)
        self._fresh, self._files, self._bytes = {}, [], 0
        took = time.monotonic() - begun
        self._wait = max(_BATCH_SECONDS, min(took / _BATCH_SHARE, _BATCH_PATIENCE))


def _size_of(extracted: Extracted) -> int:
    vectors = sum(x.nbytes for window in extracted.windows for x in window.vectors.values())
    return vectors + sum(one.values.nbytes for one in extracted.sequences.values())
