"""Read the clips that are new or changed, and acknowledge each once its vectors are written."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from earsight import engine
from earsight.errors import LibraryError, WeightsError
from earsight.library.progress import Progress
from earsight.library.scan import File, Scan, content_of, match_moves
from earsight.library.sources import Extracted, Sources, read_clip, report_of
from earsight.library.store import Content, Store, as_text
from earsight.library.tables import Tables
from earsight.media import Report

_BATCH_CLIPS = 32  # at most so many clips, or …
_BATCH_SECONDS = 1.0  # … so many seconds a clip waits to be acknowledged


@dataclass(frozen=True)
class Changes:
    """How many files were added (or have a new content), moved, gone, and left alone."""

    added: int = 0
    moved: int = 0
    gone: int = 0
    unchanged: int = 0


def read_changes(
    store: Store, found: Scan, sources: Sources, *, workers: int, progress: Progress
) -> Changes:
    """Bring the clips and their features up to date with a scan of the folder.

    Contents that are known (a moved or copied file) are not read again. Clips whose features are
    of other extractors are read anew, and stay as they were until all are done.

    Raises:
        LibraryError: Something could not be written; what was acknowledged stays.
    """
    known = {clip.path: clip.content for clip in store.clips()}
    contents = store.contents(sources.fingerprint)
    done = {name for name, content in contents.items() if not content.report["again"]}
    stale = [File(c.path, c.size, c.mtime_ns) for c in found.same if c.content not in done]
    work = found.fresh + stale
    moved: dict[bytes, bytes] = {}
    changed = []
    if work:
        sources.prepare()
        writer = _Writer(store, sources)
        progress.start("Reading clips", len(work))
        jobs = _read(store.root, work, done, sources, workers, writer.tick)
        for file, content, extracted in jobs:
            writer.add(file, content, extracted)
            if known.get(file.path) != content:
                changed.append((file, content))
            progress.advance(as_text(file.path))
        writer.flush()
        progress.finish()
        moved = match_moves(found.missing, [(f, c) for f, c in changed if f.path not in known])
    gone = [clip.path for clip in found.missing if clip.path not in moved]
    if moved or gone:
        store.move_and_drop(moved, gone)
    return Changes(len(changed) - len(moved), len(moved), len(gone), len(found.same) - len(stale))


@dataclass(frozen=True)
class _Job:
    path: Path
    file: File
    content: str
    sources: Sources


def _do(job: _Job) -> Extracted | str:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    try:
        return read_clip(job.path, job.sources)
    except (WeightsError, MemoryError):
        raise  # not this clip's fault: the next one would fail as well
    except Exception as error:
        return f"Reading it failed: {type(error).__name__}: {error}"


def _start_worker() -> None:
    os.environ["EARSIGHT_THREADS"] = "1"


def _read(
    root: Path,
    work: list[File],
    done: set[str],
    sources: Sources,
    workers: int,
    tick: Callable[[], None],
) -> Iterator[tuple[File, str, Extracted | None]]:
    """Yield each file with its content, and what was extracted where the content is new."""
    twins: dict[str, list[File]] = {}  # files whose content another one is bringing just now
    ready: list[tuple[File, str, Extracted | None]] = []

    def jobs() -> Iterator[_Job]:
        for file in work:
            tick()
            path = root / os.fsdecode(file.path)
            try:
                content = content_of(path)
            except OSError as error:
                ready.append(_failed(file, "", f"It cannot be opened: {error.strerror}."))
                continue
            if content in done:
                ready.append((file, content, None))
            elif content in twins:
                twins[content].append(file)
            else:
                twins[content] = []
                yield _Job(path, file, content, sources)

    running = engine.run(_do, jobs(), workers=workers, start=_start_worker, tick=tick)
    for job, result in running:
        yield from ready
        ready.clear()
        if isinstance(result, engine.WorkerDied | str):
            yield _failed(job.file, job.content, str(result))
        else:
            yield job.file, job.content, result
    yield from ready
    for content, files in twins.items():
        yield from ((file, content, None) for file in files)


def _failed(file: File, content: str, message: str) -> tuple[File, str, Extracted]:
    """Return the entry of a file that failed for a reason that may pass."""
    content = content or hashlib.sha256(b"unopened\0" + file.path).hexdigest()
    return file, content, Extracted(Report(message=message), [], {}, again=True)


class _Writer:
    """Writes vectors first, then acknowledges their clips; in batches, because commits are slow."""

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store = store
        self._features = sources.fingerprint
        self._tables = Tables(store.folder, self._features)
        self._tables.create(sources)
        self._fresh: dict[str, Extracted] = {}
        self._files: list[tuple[File, str]] = []
        self._oldest = 0.0

    def add(self, file: File, content: str, extracted: Extracted | None) -> None:
        if not self._files:
            self._oldest = time.monotonic()
        self._files.append((file, content))
        if extracted is not None:
            self._fresh[content] = extracted
        if len(self._files) >= _BATCH_CLIPS:
            self.flush()
        self.tick()

    def tick(self) -> None:
        """Acknowledge what has waited long enough."""
        if self._files and time.monotonic() - self._oldest > _BATCH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if not self._files:
            return
        self._tables.add(self._fresh)
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
        self._fresh, self._files = {}, []


def refuse_empty(root: Path, library: Path, found: Scan) -> None:
    """Refuse to forget a whole library because its folder looks empty.

    Raises:
        LibraryError: The folder holds no media at all.
    """
    if found.same or found.fresh:
        return
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
