"""What the server holds open: one library, its map, what reads strangers' files, its jobs."""

import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earsight import __version__
from earsight.arrays import FloatArray
from earsight.errors import BusyError, EarsightError, LibraryError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.catalog.location import find
from earsight.library.client import Library
from earsight.library.embedding.extraction import MODALITIES
from earsight.library.indexing.pipeline import IndexReport, refresh
from earsight.library.progress import Progress
from earsight.library.reports.projection import Plane, plane_of
from earsight.library.reports.quality import Case, K, measure
from earsight.library.search.moments import Timeline
from earsight.library.search.results import Answer
from earsight.library.search.sandbox import Stranger, StrangerReader
from earsight.library.search.snapshot import Opened
from earsight.paths import as_text
from earsight.storage import Remote
from earsight.web.error_handlers import as_unicode
from earsight.web.jobs import Job
from earsight.web.media import Faces
from earsight.web.sync_repair import InSync
from earsight.web.uploads import Limits, Upload

RHYTHM_SECONDS = 60.0  # that reading clips for one search by rhythm may take


class Home:
    """One library, for as long as the server runs.

    Args:
        folder: The clips folder, or the library folder itself; it need not be indexed yet.
        limits: What a file to search by may take.
    """

    def __init__(self, folder: Path | Remote, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.faces = Faces()
        self.insync = InSync()
        self.indexing = Job(self._index)
        self.quality = Job(self._measure)
        self._strangers = StrangerReader(limits.media_seconds, limits.reading, limits.waiting)
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._rhythm = threading.Lock()
        self._library: Library | None = None
        self._plane: tuple[str, str, Plane] | None = None  # library, embedding, map
        self._measured: str | None = None  # the embedding that the last figures are of

    def close(self) -> None:
        """Close the library and end what reads for it."""
        self._strangers.close()
        self.insync.close()
        self.faces.close()
        if self._library is not None:
            self._library.close()

    @property
    def library(self) -> Library:
        """The library.

        Raises:
            LibraryError: It was never indexed, or is damaged.
        """
        with self._lock:
            if self._library is None:
                self._library = Library(self.folder)
            return self._library

    def warm(self) -> None:
        """Load all that a question needs, in the background; where that fails, a question tells."""

        def load() -> None:
            import contextlib

            for part in (
                self.faces.warm,
                self._warm_strangers,
                lambda: self.library.warm(),
                self.plane,
            ):
                with contextlib.suppress(EarsightError):
                    part()

        threading.Thread(target=load, daemon=True).start()

    def _warm_strangers(self) -> None:
        self._strangers.warm(self.library.opened().sources)

    def plane(self) -> Plane:
        """Return the map as the library is now: what was forgotten is not on it.

        It is drawn once, however many ask: LAPACK takes 0.1 s for one thread, minutes for twenty.
        """
        with self._drawing:
            state = self.library.state
            if self._plane is None or self._plane[0] != state:
                self._plane = (state, self._embedding(), plane_of(self.library))
            return self._plane[2]

    def place(self, point: FloatArray) -> tuple[float, float] | None:
        """Return where a point falls on the map; its axes last as long as the embedding does."""
        kept = self._plane
        if kept is not None and kept[1] == self._embedding():
            return kept[2].place(point)
        return self.plane().place(point)

    def _embedding(self) -> str:
        answering = self.library.opened().embedding
        return f"{answering.id} {answering.digest}"

    def info(self) -> dict[str, Any]:
        """Return what is in the library; of one that was never indexed, that it is empty."""
        try:
            find(self.folder)
        except LibraryError:
            folder = self.folder
            return self._nothing(
                folder.resolve() if isinstance(folder, Path) else Path(str(folder))
            )
        library = self.library
        if not library.answers:  # its first indexing is at work, and can be watched
            return self._nothing(library.root)
        opened, clips = library.opened(), library.clips()
        root, labels, state = library.root, library.labels(), library.state
        return {
            "name": as_text(os.fsencode(root.name)),
            "root": as_text(os.fsencode(root)),
            "n_clips": len(clips),
            "labels": labels,
            "space": opened.space.name,
            "text": opened.takes_words,
            "why_no_text": _why_no_text(opened),
            "modalities": [m for m in MODALITIES if any(m in clip.has for clip in clips)],
            "texts": sum(clip.text is not None for clip in clips),
            "trouble": sum(clip.status in ("partial", "unreadable") for clip in clips),
            "version": __version__,
            "state": state,
            "upload_limit": self.limits.bytes,
        }

    def _nothing(self, root: Path) -> dict[str, Any]:
        return {
            "name": as_text(os.fsencode(root.name)),
            "root": as_text(os.fsencode(root)),
            "n_clips": 0,
            "labels": {},
            "space": None,
            "text": False,
            "why_no_text": "Nothing answers yet.",
            "modalities": [],
            "texts": 0,
            "trouble": 0,
            "version": __version__,
            "state": "empty",
            "upload_limit": self.limits.bytes,
        }

    def ask_by_upload(self, upload: Upload, **choices: Any) -> Answer:
        """Search by a file that was received."""
        return self.search(self._read(upload, timing=choices["rhythm"]), **choices)

    def search(self, query: Stranger | None = None, **asked: Any) -> Answer:
        """Search; by rhythm, for which a hundred clips may have to be read, one at a time.

        Reading them ends after a minute: what was not read keeps its place, and is read next time.

        Raises:
            BusyError: Another search by rhythm is at work.
        """
        if not asked["rhythm"]:
            return self.library.search(query, **asked)
        if not self._rhythm.acquire(blocking=False):
            raise BusyError("Another search by rhythm is at work; try again in a moment.")
        try:
            return self.library.search(query, **asked, patience=RHYTHM_SECONDS)
        finally:
            self._rhythm.release()

    def draw_by_upload(self, upload: Upload, of: int, **choices: Any) -> Timeline:
        """Return how well each second of a clip fits a file that was received."""
        return self.library.timeline(of, self._read(upload), **choices)

    def _read(self, upload: Upload, *, timing: bool = False) -> Stranger:
        sources = self.library.opened().sources
        return self._strangers.read(upload.path, upload.name, sources, timing=timing)

    def _index(self, progress: Progress) -> dict[str, Any]:
        return _told(refresh(self.folder, progress=progress))

    def quality_is_stale(self) -> bool:
        """Whether another embedding answers now than the one that was measured last."""
        return self._measured is not None and self._measured != self._embedding()

    def _measure(self, progress: Progress) -> dict[str, Any]:
        begun = self._embedding()
        found = measure(self.library.folder, progress=progress)
        self._measured = begun
        by_content = self.library.opened().by_content

        def shown(content: str) -> dict[str, Any] | None:
            clips = by_content.get(content)
            return as_json(clips[0]) if clips else None

        def cases(some: list[Case]) -> list[dict[str, Any]]:
            return [
                {
                    "clip": shown(case.content),
                    "by": case.by,
                    "for": case.for_,
                    "ap": case.ap,
                    "rank": case.rank,
                    "answers": [one for one in map(shown, case.answers) if one],
                }
                for case in some
                if shown(case.content)
            ]

        return asdict(found.evaluation) | {
            "per_class": found.per_class,
            "confusion": {"k": K} | found.confusion if found.confusion else None,
            "best": cases(found.best),
            "worst": cases(found.worst),
        }


def _why_no_text(opened: Opened) -> str:
    try:
        known = opened.sources.text is not None
    except LibraryError as error:
        return as_unicode(str(error))
    return "" if known else "This library has no text model."


def _told(report: IndexReport) -> dict[str, Any]:
    changes = report.changes
    return {
        "n_clips": report.n_clips,
        "added": changes.added,
        "again": changes.again,
        "moved": changes.moved,
        "gone": changes.gone,
        "unchanged": changes.unchanged,
        "trouble": len(report.trouble),
        "labels": report.labels,
        "passed_over": report.passed_over,
        "rebuilt": report.rebuilt,
        "seconds": report.seconds,
    }


def as_json(clip: LibraryClip) -> dict[str, Any]:
    """Return a clip as the API gives it."""
    return {
        "id": clip.id,
        "path": clip.path,
        "label": clip.label,
        "seconds": clip.seconds,
        "has": list(clip.has),
        "status": clip.status,
        "message": clip.message,
        "text": clip.text is not None,
    }
