"""What the server holds open: one library, its projection, what reads uploads, its jobs."""

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from earsight import __version__
from earsight.arrays import FloatArray
from earsight.errors import BusyError, EarsightError, LibraryError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.open import find_library
from earsight.library.catalog.records import MODALITIES
from earsight.library.client import Library
from earsight.library.indexing.pipeline import refresh
from earsight.library.progress import Progress
from earsight.library.reports.projection import Projection, project_library
from earsight.library.reports.quality import Case, K, measure
from earsight.library.search.query import Query, SandboxedFile
from earsight.library.search.results import SearchResults
from earsight.library.search.sandbox import UploadReader
from earsight.library.search.snapshot import LibrarySnapshot
from earsight.paths import as_text
from earsight.storage import Remote
from earsight.web.error_handlers import as_unicode
from earsight.web.jobs import Job
from earsight.web.models import QualityAnswer
from earsight.web.previews import Previews
from earsight.web.sync_repair import SyncRepair
from earsight.web.uploads import Upload, UploadLimits

TIMING_SECONDS = 60.0  # that reading clips for one search by timing may take


class AppState:
    """One library, for as long as the server runs; it need not be indexed yet."""

    def __init__(self, folder: Path | Remote, limits: UploadLimits) -> None:
        self.previews = Previews()
        self.sync_repair = SyncRepair()
        self.indexing = Job(self._index)
        self.measuring = Job(self._measure)
        self._folder = folder
        self._upload_limit = limits.bytes
        self._uploads = UploadReader(limits.media_seconds, limits.reading, limits.waiting)
        self._opening = threading.Lock()
        self._projecting = threading.Lock()
        self._timing = threading.Lock()
        self._library: Library | None = None
        self._projection: tuple[str, str, Projection] | None = None  # state, embedding, projection
        self._measured: str | None = None  # the embedding whose quality was measured last

    def close(self) -> None:
        """Close the library and end what reads for it."""
        self._uploads.close()
        self.sync_repair.close()
        self.previews.close()
        if self._library is not None:
            self._library.close()

    @property
    def library(self) -> Library:
        """The library; LibraryError: it was never indexed, or is damaged."""
        with self._opening:
            if self._library is None:
                self._library = Library(self._folder)
            return self._library

    def warm(self) -> None:
        """Load all that a query needs, in the background; where that fails, a query tells."""

        def load() -> None:
            steps: tuple[Callable[[], object], ...] = (
                self.previews.warm,
                lambda: self._uploads.warm(self.library.snapshot().sources),
                lambda: self.library.warm(),
                self.projection,
            )
            for step in steps:
                with contextlib.suppress(EarsightError):
                    step()

        threading.Thread(target=load, daemon=True).start()

    def projection(self) -> Projection:
        """Return the projection of the library as it is now, without clips that were forgotten.

        It is made once, however many ask: LAPACK takes 0.1 s for one thread, minutes for twenty.
        """
        with self._projecting:
            state = self.library.state
            if self._projection is None or self._projection[0] != state:
                self._projection = (state, self._embedding(), project_library(self.library))
            return self._projection[2]

    def project(self, point: FloatArray) -> tuple[float, float] | None:
        """Return where a point falls in the projection, whose axes last as the embedding does."""
        kept = self._projection
        if kept is not None and kept[1] == self._embedding():
            return kept[2].project(point)
        return self.projection().project(point)

    def _embedding(self) -> str:
        active = self.library.snapshot().embedding
        return f"{active.id} {active.digest}"

    def info(self) -> dict[str, Any]:
        """Return the fields of `models.LibraryInfo`; of a library that is not indexed, the few."""
        try:
            find_library(self._folder)
        except LibraryError:
            folder = self._folder
            return self._about(folder.resolve() if isinstance(folder, Path) else Path(str(folder)))
        library = self.library
        if not library.is_searchable:  # its first indexing is at work, and can be watched
            return self._about(library.root)
        snapshot, clips = library.snapshot(), library.clips()
        return self._about(library.root) | {
            "n_clips": len(clips),
            "labels": library.labels(),
            "space": snapshot.space.name,
            "text": snapshot.takes_words,
            "why_no_text": _why_no_text(snapshot),
            "modalities": [m for m in MODALITIES if any(m in clip.has for clip in clips)],
            "texts": sum(clip.text is not None for clip in clips),
            "trouble": sum(clip.status in ("partial", "unreadable") for clip in clips),
            "state": library.state,
        }

    def _about(self, root: Path) -> dict[str, Any]:
        return {
            "name": as_text(os.fsencode(root.name)),
            "root": as_text(os.fsencode(root)),
            "version": __version__,
            "upload_limit": self._upload_limit,
        }

    def search(self, query: Query) -> SearchResults:
        """Search; by timing, for which a hundred clips may have to be read, one at a time.

        Reading them ends after a minute: what was not read keeps its rank, and is read next time.
        """
        if not query.rhythm:
            return self.library.search(query)
        if not self._timing.acquire(blocking=False):
            raise BusyError("Another search by timing is at work. Try again in a moment.")
        try:
            return self.library.search(replace(query, patience=TIMING_SECONDS))
        finally:
            self._timing.release()

    def read_upload(self, upload: Upload, *, timing: bool = False) -> SandboxedFile:
        """Return a file that was received, decoded in the sandbox."""
        sources = self.library.snapshot().sources
        return self._uploads.read(upload.path, upload.name, sources, timing=timing)

    def _index(self, progress: Progress) -> dict[str, Any]:
        report = refresh(self._folder, progress=progress)
        names = ("n_clips", "labels", "passed_over", "rebuilt", "seconds")
        told = {name: getattr(report, name) for name in names}
        changes = ("added", "again", "moved", "gone", "unchanged")
        told |= {name: getattr(report.changes, name) for name in changes}
        return told | {"trouble": len(report.trouble)}

    def quality(self) -> QualityAnswer:
        """Return how well the library finds its own clips, as it was measured last."""
        job = self.measuring.progress()
        ended: Literal["failed", "ready", "none"]
        ended = "failed" if job.error else "ready" if job.report else "none"
        return QualityAnswer(
            state="running" if job.running else ended,
            progress=job.done / job.total if job.running and job.total else None,
            error=job.error,
            result=job.report,
            stale=self._measured is not None and self._measured != self._embedding(),
        )

    def _measure(self, progress: Progress) -> dict[str, Any]:
        begun = self._embedding()
        found = measure(self.library.folder, progress=progress)
        self._measured = begun
        by_content = self.library.snapshot().by_content
        return asdict(found.evaluation) | {
            "per_class": found.per_class,
            "confusion": {"k": K} | found.confusion if found.confusion else None,
            "best": _cases(found.best, by_content),
            "worst": _cases(found.worst, by_content),
        }


def _cases(cases: list[Case], by_content: Any) -> list[dict[str, Any]]:
    """Return queries with their results as clips; those that were forgotten are left out."""

    def shown(content: str) -> dict[str, Any] | None:
        clips = by_content.get(content)
        return clip_as_json(clips[0]) if clips else None

    return [
        {
            "clip": shown(case.content),
            "by": case.by,
            "for": case.for_,
            "ap": case.ap,
            "rank": case.rank,
            "answers": [one for one in map(shown, case.results) if one],
        }
        for case in cases
        if shown(case.content)
    ]


def _why_no_text(snapshot: LibrarySnapshot) -> str:
    try:
        known = snapshot.sources.text is not None
    except LibraryError as error:
        return as_unicode(str(error))
    return "" if known else "This library has no text model."


def clip_as_json(clip: LibraryClip) -> dict[str, Any]:
    """Return the fields of `models.Clip`."""
    names = ("id", "path", "label", "seconds", "status", "message")
    told = {name: getattr(clip, name) for name in names}
    return told | {"has": list(clip.has), "text": clip.text is not None}
