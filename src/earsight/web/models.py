"""What the API gives, as its schema documents it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

Modality = Literal["audio", "visual"]
Part = Literal["audio", "visual", "text"]


class Problem(BaseModel):
    """Why something was not done."""

    error: str = Field(description="What, the rule, what was given, and what to do.")


class LibraryInfo(BaseModel):
    """What is in the library, and what answers."""

    name: str
    root: str = Field(description="The folder of the clips on this machine.")
    n_clips: int
    labels: dict[str, int] = Field(description="Class → number of clips.")
    space: str | None = Field(description="What answers; null: not indexed yet.")
    text: bool = Field(description="Whether words can be typed.")
    why_no_text: str = Field(description="Why they cannot; empty where they can.")
    modalities: list[Modality]
    texts: int = Field(description="Clips that answer with a text beside them.")
    trouble: int = Field(description="Clips that could not be read, or not to their end.")
    version: str = Field(description="Of Earsight.")
    state: str = Field(description="Another one whenever the library has changed.")
    upload_limit: int = Field(description="Bytes that a file to search by may have.")
    local: bool = Field(description="Whether folders can be opened on the asker's machine.")


class Clip(BaseModel):
    """One clip of the library."""

    id: int
    path: str = Field(description="Relative to the clips folder; bytes outside UTF-8 as %XX.")
    label: str | None
    seconds: float | None
    has: list[Modality] = Field(description="What it answers with.")
    status: str = Field(description="ok, partial, no_audio, no_video, unreadable or not read.")
    message: str
    text: bool = Field(description="Whether it answers with a text beside it.")


class Clips(BaseModel):
    """A part of the list of clips."""

    total: int
    clips: list[Clip]


class Found(Clip):
    """A clip that answers, with the span of it that fits best."""

    score: float = Field(description="Cosine in the space that answered.")
    start: float
    end: float
    copies: list[str] = Field(description="Paths of the other clips that hold the same.")
    is_query: bool = Field(description="It is the query's own content.")
    timing: float | None = Field(description="How far its timing stands above what others reach.")
    offset: float | None = Field(description="Seconds by which the sound comes after the sight.")


class Query(BaseModel):
    """What was asked."""

    kind: Literal["text", "clip", "file"]
    name: str
    by: Part = Field(description="What of it was used.")
    for_: Part = Field(alias="for", description="What was ranked.")


class Answers(BaseModel):
    """A ranked list, best first."""

    query: Query
    space: str
    answers: list[Found]
    notes: list[str]
    seconds: float
    point: tuple[float, float] | None = Field(description="The query in the plane of the map.")


class Timeline(BaseModel):
    """How well each second of a clip fits a query."""

    clip: int
    by: Part = Field(description="What of the query was used.")
    for_: Modality = Field(alias="for", description="What of the clip.")
    space: str
    step: float = Field(description="Seconds from one score to the next.")
    times: list[float] = Field(description="The middle of each second, from the clip's start.")
    scores: list[float | None] = Field(
        description="Cosines of the three seconds around it, as a moment's score; null: nothing "
        "to hear or see there."
    )


class Waveform(BaseModel):
    """How loud a clip is, from its beginning to its end."""

    peaks: list[float] = Field(description="200 values in 0 … 1; the loudest is 1.")
    seconds: float


class Words(BaseModel):
    """What the text beside a clip says."""

    text: str = Field(description="Its beginning, 400 characters at most.")


class Offset(BaseModel):
    """By how much the sound of a clip is off."""

    offset_ms: float | None = Field(
        description="The sound comes so many milliseconds after its sight (below 0: before); "
        "null: no answer."
    )
    confidence: float = Field(description="The share of the witnesses that agree.")
    agreeing: int = Field(description="Witnesses that agree.")
    of: int = Field(description="How many there are.")
    why: str = Field(description="Why there is no answer.")


class Point(BaseModel):
    """Where a clip's sound or sight lies in the map."""

    id: int
    modality: Modality
    label: str | None
    x: float
    y: float


class MapAnswer(BaseModel):
    """The joint space in two dimensions: its first two principal components."""

    points: list[Point]
    explained: float = Field(description="Their share of the variance.")
    total: int = Field(description="Points in all; where it is more than given, they are a sample.")


class QualityAnswer(BaseModel):
    """How well the library answers, on clips that were held out."""

    state: Literal["none", "running", "ready", "failed"]
    progress: float | None = None
    error: str | None = None
    result: dict[str, Any] | None = None
    stale: bool = Field(False, description="The library has changed since the result was measured.")


class IndexAnswer(BaseModel):
    """How far indexing is."""

    running: bool
    what: str = ""
    done: int = 0
    total: int = 0
    rate: float | None = Field(None, description="Clips a second.")
    seconds_left: float | None = None
    messages: list[str] = []
    error: str | None = None
    report: dict[str, Any] | None = None


class Trouble(BaseModel):
    """A clip that could not be read, or not to its end."""

    path: str
    status: str
    message: str


class Opened(BaseModel):
    """Which folder was opened."""

    folder: str
