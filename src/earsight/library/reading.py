"""Read the clips that are new or changed, and acknowledge each once its vectors are written."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earsight import engine
from earsight.errors import LibraryError, WeightsError
from earsight.library.beside import is_text
from earsight.library.progress import Progress
from earsight.library.records import Content
from earsight.library.scan import File, Scan, content_of, match_moves, scan
from earsight.library.sources import Extracted, Sources, read_clip, read_text, report_of
from earsight.library.store import Store
from earsight.library.tables import Tables
from earsight.media import Report
from earsight.paths import as_text
from earsight.storage import Place

_BATCH_CLIPS = 32  # at most so many clips, or …
_MERGE_EVERY = 20, 200  # batches, at first and later: each leaves a small file in every table
_BATCH_SECONDS = 1.0  # … so many seconds a clip waits to be acknowledged


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
    contents = store.contents(sources.fingerprint)
    done = {name for name, content in contents.items() if not content.report["again"]}
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
        twins = _may_have_twins(work, {one.size for one in store.everything()})
        for file, content, extracted in _read(store.root, twins, done, sources, workers, writer):
            writer.add(file, content, extracted)
            if known.get(file.path) != content:
                changed.append((file, content))
            progress.advance(as_text(file.path))
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


def _do(job: _Job) -> tuple[str, Extracted | str]:
    """Read one clip; what its file does to a decoder or a network must not stop the run."""
    content = job.content or ""
    try:
        if job.sources.fingerprint != job.features:
            raise WeightsError(
                "The files of an extractor must stay as they are during a run; they have changed. "
                "Nothing was mixed. Run the same command again."
            )
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


def _read(
    root: Path,
    work: list[tuple[File, bool]],
    done: set[str],
    sources: Sources,
    workers: int,
    writer: "_Writer",
) -> Iterator[tuple[File, str, Extracted | None]]:
    """Yield each file with its content, and what was extracted where the content is new.

    Only files that may be known already are hashed here, before any decoding; the others are
    hashed by the worker that decodes them.
    """
    jobs: list[_Job] = []
    twins: dict[str, list[File]] = {}  # files whose content another one will bring
    for file, may_be_known in work:
        path = root / os.fsdecode(file.path)
        content = None
        if may_be_known:
            try:
                content = content_of(path)
            except OSError as error:
                yield _failed(file, "", f"It cannot be opened: {error.strerror}.")
                continue
            if content in done:
                yield file, content, None
                continue
            if content in twins:
                twins[content].append(file)
                continue
            twins[content] = []
        jobs.append(_Job(path, file, content, sources, sources.fingerprint))
    running = engine.run(_do, jobs, workers=workers, start=_start_worker, tick=writer.tick)
    for job, result in running:
        if isinstance(result, engine.WorkerDied):
            yield _failed(job.file, job.content or "", str(result))
            continue
        content, extracted = result
        if isinstance(extracted, str):
            yield _failed(job.file, content, extracted)
        else:
            yield job.file, content, extracted
    for content, files in twins.items():
        yield from ((file, content, None) for file in files)


def _failed(file: File, content: str, message: str) -> tuple[File, str, Extracted]:
    """Return the entry of a file that failed for a reason that may pass."""
    # What was hashed may not be what was read: the entry is the file's own, not the content's.
    content = hashlib.sha256(b"failed\0" + file.path + content.encode()).hexdigest()
    return file, content, Extracted(Report(message=message), [], {}, again=True)


class _Writer:
    """Writes vectors first, then acknowledges their clips; in batches, because commits are slow."""

    def __init__(self, store: Store, sources: Sources) -> None:
        self._store = store
        self._features = sources.fingerprint
        self._tables = Tables(store.folder, self._features, sources.roles)
        self._tables.create(sources)
        self._fresh: dict[str, Extracted] = {}
        self._files: list[tuple[File, str]] = []
        self._oldest = 0.0
        self._flushes = self._merged = 0

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
        self._fresh, self._files = {}, []


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
