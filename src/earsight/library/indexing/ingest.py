"""Read the clips that are new or changed, and acknowledge each once its vectors are written."""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from earsight import engine
from earsight.errors import LibraryError, WeightsError
from earsight.library.catalog.base import Store
from earsight.library.catalog.records import Content
from earsight.library.catalog.scan import File, Scan, content_of, match_moves, scan
from earsight.library.catalog.sidecars import is_text
from earsight.library.embedding.extraction import Extracted, Sources, read_clip, report_of
from earsight.library.embedding.feature_tables import Tables
from earsight.library.embedding.text_rows import read_text
from earsight.library.progress import Progress
from earsight.media import Report
from earsight.paths import as_text
from earsight.prefetch import ahead
from earsight.storage import Place

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
    """How many clips were added (or have a new content), read again, moved, gone, left alone.

    And how many texts beside clips were read, or are gone.
    """

    added: int = 0
    again: int = 0
    moved: int = 0
    gone: int = 0
    unchanged: int = 0
    texts: int = 0


def read_changes(
    store: Store, found: Scan, sources: Sources, *, workers: int, progress: Progress
) -> Changes:
    """Bring the clips and their features up to date with a scan of the folder.

    Contents that are known (a moved or copied file) are not read again. Clips whose features are
    of other extractors are read anew, and stay as they were until all are done.

    Raises:
        LibraryError: Something could not be written; what was acknowledged stays.
    """
    known = {file.path: file.content for file in store.files()}
    done = {
        name
        for name, content in store.contents(sources.fingerprint).items()
        if not content.report["again"]
    }
    texts = found.texts
    stale = [
        File(one.path, one.size, one.mtime_ns)
        for one in (*found.same, *texts.same)
        if one.content not in done
    ]
    work = found.fresh + texts.fresh + stale
    moved: dict[bytes, bytes] = {}
    changed = []
    if work:
        sources.prepare()
        writer = _Writer(store, sources)
        progress.start("Reading clips", len(work))

        def take(file: File, content: str, extracted: Extracted | None) -> None:
            writer.add(file, content, extracted)
            if known.get(file.path) != content:
                changed.append((file, content))
            progress.advance(as_text(file.path))

        twins = _may_have_twins(work, {one.size for one in store.everything()})
        reading = _Reading(store.root, done, sources, take)
        reading.read(twins, workers, writer.tick)
        writer.flush()
        progress.finish()
        moved = match_moves(found.missing, [(f, c) for f, c in changed if f.path not in known])
    gone = [one.path for one in (*found.missing, *texts.missing) if one.path not in moved]
    if moved or gone:
        store.move_and_drop(moved, gone)
    new = [file for file, _ in changed if not is_text(file.path)]
    said = {content for file, content in changed if is_text(file.path)}
    again = [file for file in stale if not is_text(file.path)]
    return Changes(
        len(new) - len(moved),
        len(again),
        len(moved),
        len(found.missing) - len(moved),
        len(found.same) + len(found.fresh) - len(again) - len(new),
        len(changed)
        - len(new)
        + len(stale)
        - len(again)
        + sum(text.content not in said for text in texts.missing),
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
            "The files of an extractor must stay as they are during a run; they have changed. "
            "Nothing was mixed. Run the same command again."
        )
    _checked[key] = now


def _do(job: _Job) -> tuple[str, Extracted | str]:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    content = job.content or ""
    try:
        _check(job.sources, job.features)
        content = content or content_of(job.path)
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


def _start_worker() -> None:
    os.environ["EARSIGHT_THREADS"] = "1"


class _Reading:
    """One run over files, which gives each to `take` with its content, and what was read of it.

    Only files that may be known already are hashed here, just before it is their turn; the others
    are hashed by the worker that decodes them.
    """

    def __init__(
        self,
        root: Path,
        done: set[str],
        sources: Sources,
        take: Callable[[File, str, Extracted | None], None],
    ) -> None:
        self._root, self._done, self._sources, self._take = root, done, sources, take
        self._features = sources.fingerprint
        self._twins: dict[str, list[File]] = {}  # files whose content another one will bring

    def read(
        self, work: Iterable[tuple[File, bool]], workers: int, tick: Callable[[], None]
    ) -> None:
        """Read files, each with whether it may be known already."""
        jobs = self._jobs(work)
        for job, result in engine.run(_do, jobs, workers=workers, start=_start_worker, tick=tick):
            if isinstance(result, engine.WorkerDied):
                self._take(*_failed(job.file, job.content or "", str(result)))
                continue
            content, extracted = result
            if isinstance(extracted, str):
                self._take(*_failed(job.file, content, extracted))
            else:
                self._take(job.file, content, extracted)
        for content, files in self._twins.items():
            for file in files:
                self._take(file, content, None)

    def _jobs(self, work: Iterable[tuple[File, bool]]) -> Iterator[_Job]:
        with closing(ahead(map(self._hashed, work), _HASHED_AHEAD)) as hashed:
            for file, path, content in hashed:
                if isinstance(content, OSError):
                    self._take(*_failed(file, "", f"It cannot be opened: {content.strerror}."))
                elif content in self._done:
                    self._take(file, content, None)
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
            return file, path, content_of(path) if may_be_known else None
        except OSError as error:
            return file, path, error


def _failed(file: File, content: str, message: str) -> tuple[File, str, Extracted]:
    """Return the entry of a file that failed for a reason that may pass."""
    # What was hashed may not be what was read: the entry is the file's own, not the content's.
    content = hashlib.sha256(b"failed\0" + file.path + content.encode()).hexdigest()
    return file, content, Extracted(Report(message=message), [], {}, again=True)


class _Writer:
    """Writes vectors first, then acknowledges their clips; in batches, because commits are slow."""

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store, self._sources = store, sources
        self._features = sources.fingerprint
        self._tables = Tables(store.folder, self._features, sources.roles)
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
            self._store.optimize()
        read = [
            Content(
                content,
                str(extracted.report.status),
                extracted.report.duration,
                report_of(extracted),
                len(extracted.windows),
            )
            for content, extracted in self._fresh.items()
        ]
        clips = [(file.path, file.size, file.mtime_ns, content) for file, content in self._files]
        self._store.put_clips(clips, self._features, read)
        self._fresh, self._files, self._bytes = {}, [], 0
        took = time.monotonic() - begun
        self._wait = max(_BATCH_SECONDS, min(took / _BATCH_SHARE, _BATCH_PATIENCE))


def _size_of(extracted: Extracted) -> int:
    vectors = sum(x.nbytes for window in extracted.windows for x in window.vectors.values())
    return vectors + sum(one.values.nbytes for one in extracted.sequences.values())


def refuse_empty(root: Path, library: Place, found: Scan, exclude: Sequence[str]) -> None:
    """Refuse to forget a whole library because its folder looks empty.

    Raises:
        LibraryError: The folder holds no media at all.
    """
    if found.same or found.fresh:
        return
    if any(exclude) and scan(root, ()).fresh:
        raise LibraryError(
            f"Everything in {root} is left out by --exclude {' '.join(exclude)}. Nothing was "
            "changed. To leave out nothing: --exclude ''."
        )
    if found.missing:
        raise LibraryError(
            f"{root} holds no media now, but its library knows {len(found.missing)} clips. "
            f"Is the disk there? Nothing was changed. To forget them all, delete {library}."
        )
    others = f" ({found.passed_over} files of other kinds)" if found.passed_over else ""
    raise LibraryError(
        f"{root} holds nothing playable: no file whose name ends like that of a video, a "
        f"sound or a picture{others}."
    )
