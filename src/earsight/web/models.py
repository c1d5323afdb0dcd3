"""What the API takes and gives, as its schema documents it."""

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from earsight.library.search.query import Query, SandboxedFile

Modality = Literal["audio", "visual"]
Part = Literal["audio", "visual", "text"]
ClipId = Annotated[int, Path(ge=1, le=2**53)]
Seconds = Annotated[float | None, Field(ge=0, le=1e9, allow_inf_nan=False)]

MAX_TOP = 200
MAX_TEXT = 1000  # characters


class Direction(BaseModel):
    """Which part of the query is compared with which part of the clips."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    by: Part | None = Field(
        None, description="The part of the query; text: the .txt or .srt file beside a clip."
    )
    for_: Part | None = Field(None, alias="for", description="The part of the clips.")

    def as_query(self, file: SandboxedFile | None = None) -> Query:
        """Return the question; by a file that was received, if there is one."""
        return Query(file=file, **self.model_dump(by_alias=False))


class SearchOptions(Direction):
    """How to search."""

    moments: bool = Field(False, description="Rank moments of clips, each with start and end.")
    rhythm: bool = Field(False, description="Re-rank the first 100 results by their timing.")
    top: int = Field(20, ge=1, le=MAX_TOP)
    min_score: float | None = Field(None, ge=-1, le=1)
    label: str | None = Field(None, description="Rank only clips of this class.")
    min_seconds: Seconds = None
    max_seconds: Seconds = None


class TextOrClip(Direction):
    """A query by words, or by a clip of the library."""

    text: str | None = Field(None, max_length=MAX_TEXT, description="Words.")
    clip: int | None = Field(None, ge=1, le=2**53, description="Number of a clip.")


class SearchQuery(TextOrClip, SearchOptions):
    """A search by words, or by a clip of the library."""


class ClipFilter(BaseModel):
    """Which clips, and which part of the list."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = None
    name: str | None = Field(None, description="Part of the path, in any case.")
    min_seconds: Seconds = None
    max_seconds: Seconds = None
    offset: int = Field(0, ge=0, le=2**31)
    limit: int = Field(60, ge=0, le=500)


class Problem(BaseModel):
    """Why something was not done."""

    error: str = Field(description="What, the rule, what was given, and what to do.")


class LibraryInfo(BaseModel):
    """What is in the library."""

    name: str
    root: str = Field(description="The folder of the clips on the server's machine.")
    n_clips: int = 0
    labels: dict[str, int] = Field({}, description="Class → number of clips.")
    space: str | None = Field(None, description="Active embedding; null: not indexed yet.")
    text: bool = Field(False, description="Whether words can be searched for.")
    why_no_text: str = Field("The library is not indexed yet.", description="Why they cannot.")
    modalities: list[Modality] = []
    texts: int = Field(0, description="Clips that can be found by a text beside them.")
    trouble: int = Field(0, description="Clips that could not be read, or not to their end.")
    version: str = Field(description="Version of Earsight.")
    state: str = Field("empty", description="Differs whenever the library has changed.")
    upload_limit: int = Field(description="Bytes that a file to search by may have.")
    local: bool = Field(description="Whether folders can be opened on the client's machine.")


class Clip(BaseModel):
    """One clip of the library."""

    id: int
    path: str = Field(description="Relative to the clips folder; bytes outside UTF-8 as %XX.")
    label: str | None
    seconds: float | None
    has: list[Modality] = Field(description="The modalities by which it can be found.")
    status: str = Field(description="ok, partial, no_audio, no_video, unreadable or not read.")
    message: str
    text: bool = Field(description="Whether it can be found by a text beside it.")


class Clips(BaseModel):
    """A part of the list of clips."""

    total: int
    clips: list[Clip]


class SearchResult(Clip):
    """A clip that was found, with the span of it that fits best."""

    score: float = Field(description="Cosine similarity in the active embedding.")
    start: float
    end: float
    copies: list[str] = Field(description="Paths of the other clips of the same content.")
    is_query: bool = Field(description="Whether it has the query's own content.")
    timing: float | None = Field(description="How far its timing stands above that of others.")
    offset: float | None = Field(description="Seconds by which the sound comes after the video.")


class QueryInfo(BaseModel):
    """What was searched for."""

    kind: Literal["text", "clip", "file"]
    name: str
    by: Part = Field(description="The part of the query that was used.")
    for_: Part = Field(alias="for", description="The part of the clips that was ranked.")


class SearchAnswer(BaseModel):
    """A ranked list, best first."""

    query: QueryInfo
    space: str
    answers: list[SearchResult]
    notes: list[str]
    seconds: float
    point: tuple[float, float] | None = Field(description="The query in the projection.")


class Timeline(BaseModel):
    """How well each second of a clip fits a query."""

    clip: int
    by: Part = Field(description="The part of the query that was used.")
    for_: Modality = Field(alias="for", description="The part of the clip.")
    space: str
    step: float = Field(description="Seconds from one score to the next.")
    times: list[float] = Field(description="The middle of each second, from the clip's start.")
    scores: list[float | None] = Field(
        description="Cosine similarity of the three seconds around it; null: nothing to compare."
    )


class Waveform(BaseModel):
    """How loud a clip is, from its beginning to its end."""

    peaks: list[float] = Field(description="200 values in 0 … 1; the loudest is 1.")
    seconds: float


class Offset(BaseModel):
    """By how much the sound of a clip is off."""

    offset_ms: float | None = Field(
        description="The sound comes so many milliseconds after the video (below 0: before); "
        "null: no answer."
    )
    confidence: float = Field(description="The share of the independent estimates that agree.")
    agreeing: int = Field(description="Estimates that agree.")
    of: int = Field(description="How many there are.")
    why: str = Field(description="Why there is no answer.")


class Point(BaseModel):
    """Where the sound or the video of a clip lies in the projection."""

    id: int
    modality: Modality
    label: str | None
    x: float
    y: float


class MapAnswer(BaseModel):
    """The joint space in two dimensions: its first two principal components."""

    points: list[Point]
    explained: float = Field(description="Their share of the variance.")
    total: int = Field(description="Points in all; where that is more, these are a sample.")


class QualityAnswer(BaseModel):
    """How well the library finds its own clips, by cross-validation."""

    state: Literal["none", "running", "ready", "failed"]
    progress: float | None = None
    error: str | None = None
    result: dict[str, Any] | None = None
    stale: bool = Field(False, description="The library has changed since the result was measured.")


class JobProgress(BaseModel):
    """How far a job is, or how it ended."""

    running: bool
    what: str = ""
    done: int = 0
    total: int = 0
    rate: float | None = Field(default=None, description="Clips a second.")
    seconds_left: float | None = None
    messages: list[str] = []
    error: str | None = None
    report: dict[str, Any] | None = None


class Trouble(BaseModel):
    """A clip that could not be read, or not to its end."""

    path: str
    status: str
    message: str
