"""The rows of the table that is the state of a library on S3, by kind: fact, clip, content, …"""

import json
from typing import Any

from earsight.library.catalog.records import BadRowError, Clip, Content, Embedding
from earsight.untrusted import parse_json

CLIP = ("path", "size", "mtime_ns", "content", "label", "folder", "number")
"""The columns of a clip."""


def fact_row(key: str, value: Any) -> dict[str, Any]:
    """Return the row of one fact about the library."""
    return {"key": f"fact:{key}", "kind": "fact", "value": json.dumps(value)}


def clip_key(folder: str, path: bytes) -> str:
    """Return the key of a clip: one for each path of each folder."""
    return f"clip:{folder}:{path.hex()}"


def clip_row(clip: Clip) -> dict[str, Any]:
    """Return the row of a clip."""
    return {
        "key": clip_key(clip.folder, clip.path),
        "kind": "clip",
        "number": clip.id,
        **{name: getattr(clip, name) for name in CLIP if name != "number"},
    }


def content_key(features: str, content: str) -> str:
    """Return the key of a content as some extractors read it."""
    return f"content:{features}:{content}"


def content_row(one: Content, features: str) -> dict[str, Any]:
    """Return the row of a content."""
    facts = {"status": one.status, "duration": one.duration, "report": one.report}
    return {
        "key": content_key(features, one.content),
        "kind": "content",
        "content": one.content,
        "features": features,
        "value": json.dumps({**facts, "windows": one.windows}),
    }


def unpacked(value: Any, **known: Any) -> dict[str, Any]:
    """Return what a row's `value` says, with what its other columns say.

    Raises:
        BadRowError: It is no JSON object.
    """
    try:
        return {**parse_json(value), **known}
    except (TypeError, ValueError) as error:
        raise BadRowError(f"a value is no JSON object ({error})") from error


def embedding_row(one: Embedding) -> dict[str, Any]:
    """Return the row of an embedding that is whole."""
    facts = {"digest": one.digest, "n_rows": one.n_rows, "made": one.made, "info": one.info}
    return {
        "key": f"embedding:{one.id:020d}",
        "kind": "embedding",
        "number": one.id,
        "features": one.features,
        "value": json.dumps(facts),
    }
