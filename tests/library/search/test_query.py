"""A query is checked when it is made, whoever makes it."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from earsight.errors import InputError
from earsight.library.search.query import Query, QueryFields


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "exactly one of a file, `text` and `clip` to search by; got 0 of them"),
        ({"file": "a.mp4", "clip": 1}, "exactly one of .*; got 2 of them"),
        ({"text": "dog", "for_": "sound"}, "`for_` must be audio, visual or text; got 'sound'"),
        ({"clip": 1, "by": "eyes"}, "`by` must be audio, visual or text; got 'eyes'"),
        ({"text": "dog", "by": "text"}, "`by` belongs to a file"),
        ({"text": "dog", "top": 0}, "`top` must be at least 1; got 0"),
        (
            {"text": "dog", "min_score": float("nan")},
            "`min_score` must be a finite number; got nan",
        ),
        (
            {"text": "dog", "min_seconds": -1.0},
            "`min_seconds` must be 0 or more, and finite; got -1",
        ),
        (
            {"file": "a", "rhythm": True, "moments": True},
            "`rhythm` ranks clips and `moments` parts",
        ),
    ],
)
def test_a_value_that_breaks_its_rule(given: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Query(**given)


def test_it_is_passed_on_as_it_is() -> None:
    query = Query(file=Path("a.mp4"), top=5)
    assert Query.of(query) is query and Query.of(Path("a.mp4"), top=5) == query
    with pytest.raises(InputError, match="Pass top, by inside the `Query`, not beside it"):
        Query.of(query, top=3, by="audio")
    with pytest.raises(FrozenInstanceError):
        query.top = 3  # type: ignore[misc]
    assert {one.name for one in fields(Query)} == {"file", *QueryFields.__annotations__}
    assert (query.n_ranked, Query(file="a", rhythm=True).n_ranked) == (5, 100)
