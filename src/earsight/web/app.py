"""The JSON API: each answer is the library's, put into JSON."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from earsight import __version__
from earsight.errors import InputError
from earsight.library.catalog.clips import LibraryClip
from earsight.library.search.moments import Timeline
from earsight.library.search.results import SearchResults
from earsight.storage import Remote
from earsight.web import media, models
from earsight.web.app_state import AppState, clip_as_json
from earsight.web.error_handlers import add_error_handlers, as_unicode, in_api_terms
from earsight.web.pages import add_pages
from earsight.web.security import AccessRules, guarded, is_loopback
from earsight.web.uploads import UploadLimits, UploadReceiver

_FILE = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
_FORM = {"multipart/form-data": {"schema": _FILE | {"required": ["file"]}}}
_TAKES_A_FILE = {"requestBody": {"required": True, "content": _FORM}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": {"model": models.Problem}}

router = APIRouter(prefix="/api")


def create_app(
    folder: Path | Remote, rules: AccessRules, limits: UploadLimits | None = None
) -> ASGIApp:
    """Return the server's application for one library, in its clips or library folder."""
    limits = limits or UploadLimits(bytes=rules.upload_bytes)
    state = AppState(folder, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.receiver = UploadReceiver(limits)
        state.warm()
        try:
            yield
        finally:
            app.state.receiver.close()
            state.close()

    app = FastAPI(
        title="Earsight",
        summary="Find video by sound, and sound by video.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=_PROBLEMS,
    )
    app.state.library, app.state.rules = state, rules
    add_error_handlers(app)
    app.include_router(router)
    add_pages(app)
    return guarded(app, rules)


def _state(request: Request) -> AppState:
    state: AppState = request.app.state.library
    return state


State = Annotated[AppState, Depends(_state)]


def _clip(id: models.ClipId, state: State) -> LibraryClip:
    try:
        return state.library.clip(id)
    except InputError as error:
        raise HTTPException(404, str(error)) from error


Clip = Annotated[LibraryClip, Depends(_clip)]


def _is_local(request: Request) -> bool:
    return request.client is not None and is_loopback(request.client.host)


@router.get("/library", response_model=models.LibraryInfo, tags=["library"])
def library(request: Request, state: State) -> dict[str, Any]:
    """What is in the library."""
    return state.info() | {"local": _is_local(request)}


@router.get("/clips", response_model=models.Clips, tags=["clips"])
def clips(asked: Annotated[models.ClipFilter, Query()], state: State) -> dict[str, Any]:
    """The clips by path, filtered, a part of the list at a time."""
    found = state.library.clips(**asked.model_dump(exclude={"offset", "limit"}))
    part = found[asked.offset : asked.offset + asked.limit]
    return {"total": len(found), "clips": [clip_as_json(clip) for clip in part]}


@router.get("/clips/{id:int}", response_model=models.Clip, tags=["clips"])
def one_clip(clip: Clip) -> dict[str, Any]:
    """One clip."""
    return clip_as_json(clip)


@router.get("/clips/{id:int}/media", response_class=Response, tags=["clips"])
def clip_media(clip: Clip, state: State) -> Response:
    """The clip's file; ranges of bytes may be asked for."""
    return media.file_response(clip, state.library.root)


@router.get("/clips/{id:int}/thumbnail", response_class=Response, tags=["clips"])
def thumbnail(
    clip: Clip,
    state: State,
    at: Annotated[float | None, Query(ge=0, le=1e9, allow_inf_nan=False)] = None,
) -> Response:
    """A frame as a JPEG; `at` seconds, or near the beginning."""
    made = state.previews.thumbnail(clip, state.library.root, at)
    return Response(made, media_type="image/jpeg", headers={"Cache-Control": "private"})


@router.get("/clips/{id:int}/waveform", response_model=models.Waveform, tags=["clips"])
def waveform(clip: Clip, state: State) -> dict[str, Any]:
    """How loud the clip is, from beginning to end."""
    return state.previews.waveform(clip, state.library.root)


@router.get("/clips/{id:int}/text", response_model=dict[str, str], tags=["clips"])
def text(
    clip: Clip, state: State, start: models.Seconds = None, end: models.Seconds = None
) -> dict[str, str]:
    """The text beside the clip; of subtitles, those from `start` to `end` seconds."""
    return {"text": media.text_of(clip, state.library.root, start, end)}


@router.get("/clips/{id:int}/offset", response_model=models.Offset, tags=["clips"])
def offset(clip: Clip, state: State) -> dict[str, Any]:
    """By how many milliseconds the clip's sound is off, or why that cannot be told."""
    return state.sync_repair.offset(clip, state.library.root)


@router.get("/clips/{id:int}/repaired", response_class=Response, tags=["clips"])
def repaired(clip: Clip, state: State) -> Response:
    """A copy of the clip with its sound in sync, not encoded again; kept for a while."""
    copy = state.sync_repair.repaired(clip, state.library.root)
    return media.OpenFileResponse(copy, Path(copy.name).suffix)


@router.post("/clips/{id:int}/open", response_model=dict[str, str], tags=["clips"])
def open_folder(request: Request, clip: Clip, state: State) -> dict[str, str]:
    """Open the clip's folder on the server's machine; from that machine alone."""
    if not _is_local(request):
        raise HTTPException(403, "Folders can be opened only from the server's machine.")
    folder = media.open_folder(clip, state.library.root)
    return {"folder": as_unicode(str(folder))}


@router.get("/search", response_model=models.SearchAnswer, tags=["search"])
def search(asked: Annotated[models.SearchQuery, Query()], state: State) -> dict[str, Any]:
    """Search by words, or by a clip of the library: pass exactly one of them."""
    begun = time.perf_counter()
    _check_query(state, asked)
    answer = state.search(asked.as_query())
    return search_as_json(state, answer, "clip" if asked.text is None else "text", begun)


@router.post(
    "/search", response_model=models.SearchAnswer, tags=["search"], openapi_extra=_TAKES_A_FILE
)
async def search_by_file(
    request: Request, options: Annotated[models.SearchOptions, Query()], state: State
) -> dict[str, Any]:
    """Search by a file: sound, video or picture. It is deleted after the search."""
    begun = time.perf_counter()
    async with request.app.state.receiver.receive(request) as upload:
        file = await run_in_threadpool(state.read_upload, upload, timing=options.rhythm)
        answer = await run_in_threadpool(state.search, options.as_query(file))
    return await run_in_threadpool(search_as_json, state, answer, "file", begun)


@router.get("/clips/{id:int}/timeline", response_model=models.Timeline, tags=["search"])
def timeline(
    clip: Clip, asked: Annotated[models.TextOrClip, Query()], state: State
) -> dict[str, Any]:
    """How well each second of a clip fits words, or a clip of the library."""
    _check_query(state, asked)
    return _timeline_as_json(clip, state.library.timeline(clip.id, asked.as_query()))


@router.post(
    "/clips/{id:int}/timeline",
    response_model=models.Timeline,
    tags=["search"],
    openapi_extra=_TAKES_A_FILE,
)
async def timeline_by_file(
    request: Request, clip: Clip, asked: Annotated[models.Direction, Query()], state: State
) -> dict[str, Any]:
    """How well each second of a clip fits a file, which is then deleted."""
    async with request.app.state.receiver.receive(request) as upload:
        file = await run_in_threadpool(state.read_upload, upload)
        found = await run_in_threadpool(state.library.timeline, clip.id, asked.as_query(file))
    return _timeline_as_json(clip, found)


def _check_query(state: AppState, asked: models.TextOrClip) -> None:
    if (asked.text is None) == (asked.clip is None):
        raise InputError("Pass exactly one of `text` and `clip`.")
    if asked.clip is not None:
        _clip(asked.clip, state)


def _timeline_as_json(clip: LibraryClip, found: Timeline) -> dict[str, Any]:
    return {
        "clip": clip.id,
        "by": found.by,
        "for": found.for_,
        "space": found.space,
        "step": 1.0,
        "times": found.times.tolist(),
        "scores": [None if math.isnan(score) else score for score in found.scores.tolist()],
    }


def search_as_json(
    state: AppState, answer: SearchResults, kind: str, begun: float
) -> dict[str, Any]:
    """Return the answer to a query of some kind, whose search began at `begun`."""
    found = []
    for one in answer:
        row = clip_as_json(one.clip)  # the clip as it was then: it may be gone by now
        names = ("score", "start", "end", "is_query", "timing", "offset")
        row |= {name: getattr(one, name) for name in names}
        found.append(row | {"copies": [clip.path for clip in one.others]})
    return {
        "query": {"kind": kind, "name": answer.query, "by": answer.by, "for": answer.for_},
        "space": answer.space,
        "answers": found,
        "notes": [as_unicode(in_api_terms(note)) for note in answer.notes],
        "point": state.project(answer.point),
        "seconds": time.perf_counter() - begun,
    }


@router.get("/map", response_model=models.MapAnswer, tags=["views"])
def projection(state: State) -> dict[str, Any]:
    """The joint space in two dimensions; of very many clips, a sample."""
    found = state.projection()
    points = [
        {"id": clip.id, "modality": modality, "label": clip.label, "x": x, "y": y}
        for clip, modality, (x, y) in zip(
            found.clips, found.modalities, found.points.tolist(), strict=True
        )
    ]
    return {"points": points, "explained": found.explained, "total": found.total}


@router.get("/quality", tags=["views"])
def quality(state: State) -> models.QualityAnswer:
    """How well the library finds its own clips, as it was measured last."""
    return state.quality()


@router.post("/quality", tags=["views"])
def measure_quality(state: State) -> models.QualityAnswer:
    """Measure how well the library finds its own clips, in the background."""
    state.library.snapshot()
    state.measuring.begin()
    return state.quality()


@router.get("/index", tags=["library"])
def index_progress(state: State) -> models.JobProgress:
    """How far indexing is."""
    return state.indexing.progress()


@router.post("/index", tags=["library"])
def index(state: State) -> models.JobProgress:
    """Bring the library up to date, in the background."""
    state.indexing.begin()
    return state.indexing.progress()


@router.get("/trouble", response_model=list[models.Trouble], tags=["library"])
def trouble(state: State) -> list[dict[str, str]]:
    """The clips that could not be read, or not to their end."""
    return [
        {"path": clip.path, "status": clip.status, "message": clip.message}
        for clip in state.library.clips()
        if clip.status in ("partial", "unreadable")
    ]
