"""The JSON API and the page: each answer is the library's, put into JSON."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from earsight import __version__
from earsight.errors import InputError
from earsight.library.search.moments import Timeline
from earsight.library.search.results import Answer
from earsight.storage import Remote
from earsight.web import media, models
from earsight.web.app_state import Home, as_json
from earsight.web.error_handlers import answer_failures, as_unicode, worded
from earsight.web.pages import add_pages
from earsight.web.security import Guard, Rules, is_loopback
from earsight.web.uploads import Inbox, Limits

MAX_TOP = 200
MAX_WORDS = 1000  # characters

Id = Annotated[int, InPath(ge=1, le=2**53)]
Seconds = Annotated[float | None, Field(ge=0, le=1e9, allow_inf_nan=False)]
_FILE = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
_FORM = {"multipart/form-data": {"schema": _FILE | {"required": ["file"]}}}
_TAKES_A_FILE = {"requestBody": {"required": True, "content": _FORM}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": {"model": models.Problem}}


class Aim(BaseModel):
    """What is held against what."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    by: models.Part | None = Field(
        None, description="What of the query to use; text: the .txt or .srt file beside a clip."
    )
    for_: models.Part | None = Field(None, alias="for", description="What to rank.")


class Choices(Aim):
    """How to search."""

    moments: bool = Field(False, description="Rank moments of clips: start and end of each.")
    rhythm: bool = Field(
        False, description="Of the first 100, raise those whose timing fits; each says its own."
    )
    top: int = Field(20, ge=1, le=MAX_TOP)
    min_score: float | None = Field(None, ge=-1, le=1)
    label: str | None = Field(None, description="Rank clips of this class alone.")
    min_seconds: Seconds = None
    max_seconds: Seconds = None

    def as_arguments(self) -> dict[str, Any]:
        """Return them as `Library.search` takes them."""
        names = ("by", "for_", "top", "min_score", "label", "min_seconds", "max_seconds")
        return {name: getattr(self, name) for name in (*names, "moments", "rhythm")}


class Asking(Aim):
    """A query by words, or by a clip of the library."""

    text: str | None = Field(None, max_length=MAX_WORDS, description="Typed words.")
    clip: int | None = Field(None, ge=1, le=2**53, description="Number of a clip.")


class Question(Asking, Choices):
    """A search by words, or by a clip of the library."""


class Page(BaseModel):
    """Which clips, and which part of the list."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = None
    name: str | None = Field(None, description="Part of the path, in any case.")
    min_seconds: Seconds = None
    max_seconds: Seconds = None
    offset: int = Field(0, ge=0, le=2**31)
    limit: int = Field(60, ge=0, le=500)


def create_app(folder: Path | Remote, rules: Rules, limits: Limits | None = None) -> ASGIApp:
    """Return the server's application for one library.

    Args:
        folder: The clips folder, or the library folder itself.
        rules: Who may ask.
        limits: What a file to search by may take.
    """
    home = Home(folder, limits or Limits(bytes=rules.upload_bytes))
    inbox: list[Inbox] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        inbox.append(Inbox(home.limits))
        home.warm()
        try:
            yield
        finally:
            inbox.pop().close()
            home.close()

    app = FastAPI(
        title="Earsight",
        summary="Find video by sound, and sound by video.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=_PROBLEMS,
    )
    answer_failures(app)
    _add_clips(app, home, rules)
    _add_search(app, home, lambda: inbox[0])
    _add_timeline(app, home, lambda: inbox[0])
    _add_views(app, home)
    add_pages(app)
    return Guard(app, rules)


def _add_clips(app: FastAPI, home: Home, rules: Rules) -> None:
    @app.get("/api/library", response_model=models.LibraryInfo, tags=["library"])
    def library(request: Request) -> dict[str, Any]:
        """What is in the library, and what answers."""
        return home.info() | {"local": _is_local(request, rules)}

    @app.get("/api/clips", response_model=models.Clips, tags=["clips"])
    def clips(page: Annotated[Page, Query()]) -> dict[str, Any]:
        """The clips by path, filtered, a part of the list at a time."""
        found = home.library.clips(
            label=page.label,
            name=page.name,
            min_seconds=page.min_seconds,
            max_seconds=page.max_seconds,
        )
        part = found[page.offset : page.offset + page.limit]
        return {"total": len(found), "clips": [as_json(clip) for clip in part]}

    @app.get("/api/clips/{id:int}", response_model=models.Clip, tags=["clips"])
    def clip(id: Id) -> dict[str, Any]:
        """One clip."""
        return as_json(_clip(home, id))

    @app.get("/api/clips/{id:int}/media", response_class=Response, tags=["clips"])
    def clip_media(id: Id, request: Request) -> Response:
        """The clip's file; one range of bytes may be asked for."""
        return media.bytes_of(_clip(home, id), home.library.root, request)

    @app.get("/api/clips/{id:int}/thumbnail", response_class=Response, tags=["clips"])
    def thumbnail(
        id: Id, at: Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False)] = None
    ) -> Response:
        """A frame as a JPEG; `at` seconds, or near the beginning."""
        made = home.faces.thumbnail(_clip(home, id), home.library.root, at)
        return Response(made, media_type="image/jpeg", headers={"Cache-Control": "private"})

    @app.get("/api/clips/{id:int}/waveform", response_model=models.Waveform, tags=["clips"])
    def waveform(id: Id) -> dict[str, Any]:
        """How loud the clip is, from beginning to end."""
        return home.faces.waveform(_clip(home, id), home.library.root)

    @app.get("/api/clips/{id:int}/text", response_model=models.Words, tags=["clips"])
    def words(id: Id, start: Seconds = None, end: Seconds = None) -> dict[str, str]:
        """The text beside the clip; of subtitles, what is said from `start` to `end` seconds."""
        return {"text": media.text_of(_clip(home, id), home.library.root, start, end)}

    @app.get("/api/clips/{id:int}/offset", response_model=models.Offset, tags=["clips"])
    def offset(id: Id) -> dict[str, Any]:
        """By how many milliseconds the clip's sound is off, or why that cannot be told."""
        return home.insync.offset(_clip(home, id), home.library.root)

    @app.get("/api/clips/{id:int}/repaired", response_class=Response, tags=["clips"])
    def repaired(id: Id, request: Request) -> Response:
        """A copy of the clip with its sound in step, not encoded again; kept for a while."""
        copy = home.insync.repaired(_clip(home, id), home.library.root)
        return media.answer_with(copy, Path(copy.name).suffix, request)

    @app.post("/api/clips/{id:int}/open", response_model=models.Opened, tags=["clips"])
    def open_folder(id: Id, request: Request) -> dict[str, str]:
        """Open the clip's folder on this machine; from this machine alone."""
        if not _is_local(request, rules):
            raise media.NotServedError(403, "Folders are opened from this machine alone.")
        folder = media.open_folder(_clip(home, id), home.library.root)
        return {"folder": as_unicode(str(folder))}


def _is_local(request: Request, rules: Rules) -> bool:
    return request.client is not None and is_loopback(request.client.host)


def _clip(home: Home, number: int) -> Any:
    try:
        return home.library.clip(number)
    except InputError as error:
        raise media.NotServedError(404, str(error)) from error


def _add_search(app: FastAPI, home: Home, inbox: Any) -> None:
    @app.get("/api/search", response_model=models.Answers, tags=["search"])
    def search(question: Annotated[Question, Query()]) -> dict[str, Any]:
        """Search by typed words, or by a clip of the library: exactly one of them."""
        begun = time.perf_counter()
        _check_asking(home, question)
        chosen = question.as_arguments()
        answer = home.search(text=question.text, clip=question.clip, **chosen)
        kind = "clip" if question.text is None else "text"
        return _answers(home, answer, kind, begun)

    @app.post(
        "/api/search", response_model=models.Answers, tags=["search"], openapi_extra=_TAKES_A_FILE
    )
    async def search_by_file(
        request: Request, choices: Annotated[Choices, Query()]
    ) -> dict[str, Any]:
        """Search by a file: sound, video or picture. It is deleted when it has been answered."""
        begun = time.perf_counter()
        async with inbox().receive(request) as upload:
            answer = await run_in_threadpool(home.ask_by_upload, upload, **choices.as_arguments())
        return await run_in_threadpool(_answers, home, answer, "file", begun)


def _check_asking(home: Home, asking: Asking) -> None:
    if (asking.text is None) == (asking.clip is None):
        raise InputError("Search takes `text` or `clip`, and exactly one of them.")
    if asking.clip is not None:
        _clip(home, asking.clip)


def _add_timeline(app: FastAPI, home: Home, inbox: Any) -> None:
    @app.get("/api/clips/{id:int}/timeline", response_model=models.Timeline, tags=["search"])
    def timeline(id: Id, asking: Annotated[Asking, Query()]) -> dict[str, Any]:
        """How well each second of a clip fits typed words, or a clip of the library."""
        _clip(home, id)
        _check_asking(home, asking)
        how: dict[str, Any] = {"by": asking.by, "for_": asking.for_}
        return _curve(id, home.library.timeline(id, text=asking.text, clip=asking.clip, **how))

    @app.post(
        "/api/clips/{id:int}/timeline",
        response_model=models.Timeline,
        tags=["search"],
        openapi_extra=_TAKES_A_FILE,
    )
    async def timeline_by_file(
        request: Request, id: Id, aim: Annotated[Aim, Query()]
    ) -> dict[str, Any]:
        """How well each second of a clip fits a file, which is then deleted."""
        await run_in_threadpool(_clip, home, id)
        async with inbox().receive(request) as upload:
            how: dict[str, Any] = {"by": aim.by, "for_": aim.for_}
            return _curve(id, await run_in_threadpool(home.draw_by_upload, upload, id, **how))


def _curve(number: int, found: Timeline) -> dict[str, Any]:
    return {
        "clip": number,
        "by": found.by,
        "for": found.for_,
        "space": found.space,
        "step": 1.0,
        "times": found.times.tolist(),
        "scores": [None if math.isnan(score) else score for score in found.scores.tolist()],
    }


def _answers(home: Home, answer: Answer, kind: str, begun: float) -> dict[str, Any]:
    found = []
    for one in answer:
        assert one.clip is not None  # the clip as it was then: it may be gone by now
        row = as_json(one.clip)
        row |= {"score": one.score, "start": one.start, "end": one.end, "is_query": one.is_query}
        row |= {"timing": one.timing, "offset": one.offset}
        row["copies"] = [clip.path for clip in one.others]
        found.append(row)
    return {
        "query": {"kind": kind, "name": answer.query, "by": answer.by, "for": answer.for_},
        "space": answer.space,
        "answers": found,
        "notes": [as_unicode(worded(note)) for note in answer.notes],
        "point": home.place(answer.point),
        "seconds": time.perf_counter() - begun,
    }


def _add_views(app: FastAPI, home: Home) -> None:
    @app.get("/api/map", response_model=models.MapAnswer, tags=["views"])
    def the_map() -> dict[str, Any]:
        """The joint space in two dimensions; of very many clips, a sample."""
        plane = home.plane()
        points = [
            {"id": clip.id, "modality": modality, "label": clip.label, "x": x, "y": y}
            for clip, modality, (x, y) in zip(
                plane.clips, plane.modalities, plane.points.tolist(), strict=True
            )
        ]
        return {"points": points, "explained": plane.explained, "total": plane.total}

    @app.get("/api/quality", response_model=models.QualityAnswer, tags=["views"])
    def quality() -> dict[str, Any]:
        """How well the library answers, as it was measured last."""
        return _quality(home)

    @app.post("/api/quality", response_model=models.QualityAnswer, tags=["views"])
    def measure() -> dict[str, Any]:
        """Measure how well the library answers, in the background."""
        home.library.opened()
        home.quality.begin()
        return _quality(home)

    @app.get("/api/index", response_model=models.IndexAnswer, tags=["library"])
    def indexing() -> dict[str, Any]:
        """How far indexing is."""
        return home.indexing.snapshot()

    @app.post("/api/index", response_model=models.IndexAnswer, tags=["library"])
    def index() -> dict[str, Any]:
        """Bring the library up to date, in the background."""
        home.indexing.begin()
        return home.indexing.snapshot()

    @app.get("/api/trouble", response_model=list[models.Trouble], tags=["library"])
    def trouble() -> list[dict[str, str]]:
        """The clips that could not be read, or not to their end."""
        return [
            {"path": clip.path, "status": clip.status, "message": clip.message}
            for clip in home.library.clips()
            if clip.status in ("partial", "unreadable")
        ]


def _quality(home: Home) -> dict[str, Any]:
    job = home.quality.snapshot()
    state = "running" if job["running"] else "none"
    if not job["running"] and (job["report"] or job["error"]):
        state = "failed" if job["error"] else "ready"
    progress = job["done"] / job["total"] if job["running"] and job["total"] else None
    told = {"state": state, "progress": progress, "error": job["error"], "result": job["report"]}
    return told | {"stale": home.quality_is_stale()}
