"""What a stranger may put in the place of a value; for property-based tests."""

from typing import Any

from hypothesis import strategies as st

AWKWARD = [
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 0.5, -0.0, 1e308),
    *("", "0", "..", "../../x", "/etc/hostname", "a\0b", "é", "\u202e", "x" * 5000, "NaN", "null"),
    *("milvus://127.0.0.1:9", "s3://bucket/key", "cca:n_components=0", "none", "{}", "[]"),
    *([], {}, [[]], {"a": {"b": []}}, [1, "2", None], {"": None}),
]
"""Values that are of another kind, too large, or lead elsewhere."""


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value, awkward ones often."""
    return st.sampled_from(AWKWARD) | st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value, itself included."""
    found = [path]
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(inner, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any, how: str) -> Any:
    """Return a JSON value with one place in it replaced, removed, repeated or put deeper."""
    if not path:
        return [new] if how == "deeper" else new
    first, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[first] = changed(copy[first], tuple(rest), new, how)
    elif how == "remove":
        del copy[first]
    elif how == "deeper":
        copy[first] = {"x": [copy[first]]}
    elif how == "repeat" and isinstance(copy, list):
        copy.insert(first, copy[first])
    elif how == "repeat":
        copy[f"{first} again"] = copy[first]
    else:
        copy[first] = new
    return copy


@st.composite
def json_mutations(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        how = draw(st.sampled_from(["replace", "replace", "remove", "deeper", "repeat"]))
        value = changed(value, path, draw(json_values()), how)
    return value
