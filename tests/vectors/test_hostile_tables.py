"""Tables that a stranger made: whatever is in them ends in an `EarsightError` or is fine."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _hostile_tables import Opener, changed, damaged, make_tables
from _lance import edit_manifest, latest
from _rows import make_rows
from earsight.errors import EarsightError, LibraryError
from earsight.vectors import InMemoryIndex, LanceIndex, MilvusIndex, Row
from earsight.vectors.lance import _row
from earsight.vectors.sequences import _stored

FEW = pytest.param(1, id="few")
MANY = pytest.param(12, id="many", marks=pytest.mark.long)


def run(test: Any, examples: int) -> None:
    """Run a property on so many cases, always the same."""
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
    settings(max_examples=examples, derandomize=True, **quiet)(given(st.data())(test))()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tables(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def opener() -> Iterator[Opener]:
    one = Opener()
    yield one
    one.close()


@pytest.mark.parametrize("times", [FEW, MANY])
def test_damaged_files(opener: Opener, made: Path, tmp_path: Path, times: int) -> None:
    files = [path for path in sorted(made.rglob("*")) if path.is_file()]
    folder = tmp_path / "damaged"

    def test(data: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        file = folder / data.draw(st.sampled_from(files)).relative_to(made)
        file.write_bytes(damaged(file.read_bytes(), data.draw))
        said = opener.used(folder)
        assert said.startswith("refused:"), f"{said}: {file}"

    run(test, 25 * times)


@pytest.mark.parametrize("times", [FEW, MANY])
def test_changed_manifests(opener: Opener, made: Path, tmp_path: Path, times: int) -> None:
    folder = tmp_path / "changed"

    def test(data: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made, folder)
        table = folder / data.draw(st.sampled_from(["s.lance", "t.lance"]))
        edit_manifest(latest(table), lambda message: changed(message, data.draw))
        said = opener.used(folder)
        assert said.startswith("refused:"), said

    run(test, 15 * times)


def kinds(pa: Any) -> list[Any]:
    wide = [pa.list_(pa.float32(), 1), pa.list_(pa.float64(), 5), pa.binary(5)]
    return [*wide, pa.string(), pa.large_string(), pa.int64(), pa.int32(), pa.bool_(), pa.float64()]


@pytest.mark.parametrize("times", [FEW, MANY])
def test_other_columns(opener: Opener, made: Path, tmp_path: Path, times: int) -> None:
    import lancedb
    import pyarrow as pa

    folder = tmp_path / "columns"
    own = {name: lancedb.connect(made).open_table(name).to_arrow().slice(0, 2) for name in "st"}

    def test(data: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        name = data.draw(st.sampled_from("st"))
        table = own[name]
        column = data.draw(st.sampled_from(table.schema.names))
        at = table.schema.get_field_index(column)
        what = data.draw(st.sampled_from(["gone", "named", "null", "more", "kind", "said"]))
        if what == "gone":
            table = table.drop_columns([column])
        elif what == "named":
            table = table.rename_columns({column: "another"})
        elif what == "null":
            kind = table.schema.field(column).type
            table = table.set_column(at, pa.field(column, kind), pa.nulls(2, kind))
        elif what == "more":
            table = table.append_column("more", pa.nulls(2, data.draw(st.sampled_from(kinds(pa)))))
        elif what == "kind":
            kind = data.draw(st.sampled_from(kinds(pa)))
            table = table.set_column(at, pa.field(column, kind), pa.nulls(2, kind))
        else:
            texts = st.sampled_from(["-1", "x", "9" * 5000, "1e9", "", "\u0661"])
            said = {"earsight:probes": data.draw(texts)}
            table = table.cast(table.schema.set(at, table.schema.field(column).with_metadata(said)))
        lancedb.connect(folder).create_table(
            name, table, on_bad_vectors="fill", fill_value=float("nan")
        )
        said = opener.used(folder)
        assert said.startswith("refused:"), said

    run(test, 10 * times)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=7), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
ALMOST = st.tuples(*[st.one_of(st.just(x), ANYTHING) for x in ("k", "c", "audio", 0, 0.0, 1.0)])


def is_row(row: Row) -> bool:
    texts = (row.key, row.content, row.modality)
    [text.encode() for text in texts]
    return row.window >= 0 and math.isfinite(row.start) and math.isfinite(row.end)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.one_of(st.text(), ANYTHING.map(json.dumps), ALMOST.map(json.dumps)))
def test_any_text_is_a_row_or_a_value_error(packed: str) -> None:
    try:
        row = _row(packed)
    except ValueError:
        return
    assert is_row(row)


@pytest.mark.parametrize(
    "packed",
    [
        "[" * 100_000,
        '["\\ud800", "c", "audio", 0, 0, 1]',
        f'["k", "c", "audio", 0, 0, {"9" * 5000}]',
        f'["k", "c", "audio", 0, 0, {"9" * 400}]',
        '["k", "c", "audio", true, 0, 1]',
        '["k", "c", "audio", 0, NaN, 1]',
        f'["{"k" * 300_000}", "c", "audio", 0, 0, 1]',
        None,
    ],
)
def test_these_texts_are_no_rows(packed: str | None) -> None:
    with pytest.raises(ValueError, match=r"a row|JSON|digits|surrogates|delimiter"):
        _row(packed)


def test_rows_that_are_none_are_told(made: Path, tmp_path: Path) -> None:
    import lancedb
    import pyarrow as pa

    table = lancedb.connect(made).open_table("t").to_arrow().slice(0, 3)
    at = table.schema.get_field_index("row")
    texts = pa.array(["[1]", "{}", "x"])
    lancedb.connect(tmp_path).create_table("t", table.set_column(at, table.schema.field(at), texts))
    index = LanceIndex(tmp_path, "t")
    assert index.count() == 3
    calls = (index.rows, lambda: list(index.read()), lambda: index.search(np.ones((1, 5)), 3))
    for call in (*calls, lambda: InMemoryIndex.of(index)):
        with pytest.raises(LibraryError, match=r"Cannot read table 't' in .*a row"):
            call()


def test_vectors_that_are_not_finite_are_told(tmp_path: Path) -> None:
    index = LanceIndex(tmp_path, "t")
    index.create(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earsight.vectors.lance.check_batch", lambda rows, vectors, dim: vectors)
        index.upsert(make_rows(2), np.full((2, 5), np.inf, dtype=np.float32))
    calls = (lambda: list(index.read()), lambda: index.search(np.ones((1, 5)), 3))
    for call in (*calls, lambda: InMemoryIndex.of(index)):
        with pytest.raises(LibraryError, match="a vector is not finite"):
            call()


RECORD = {"key": "k", "content": "c", "source": "s", "n_steps": 2, "dim": 3, "span": 0.5}
RECORD |= {"values": bytes(24), "times": bytes(16), "weights": None}
NUMBERS = st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1), st.integers(-1, 4))
BYTES = st.one_of(st.none(), st.binary(max_size=32), st.sampled_from([bytes(24), b"\xff" * 24]))
CHANGES = {
    **dict.fromkeys(["n_steps", "dim"], NUMBERS),
    **dict.fromkeys(["values", "times", "weights"], BYTES),
    **dict.fromkeys(["key", "content", "source"], st.one_of(st.none(), st.text())),
    "span": st.one_of(st.none(), st.floats()),
}


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.fixed_dictionaries({}, optional=CHANGES))
def test_any_record_is_a_sequence_or_a_value_error(change: dict[str, Any]) -> None:
    try:
        stored = _stored(RECORD | change)
    except ValueError:
        return
    sequence = stored.sequence
    assert sequence.values.shape == (len(sequence), sequence.dim)
    assert np.isfinite(sequence.values).all() and np.isfinite(sequence.times).all()
    assert sequence.weights is None or (sequence.weights >= 0).all()
    assert 0 <= sequence.span < math.inf


SCHEMA = [{"name": n} for n in ("key", "content", "modality", "window", "start", "end")]
SCHEMA += [{"name": "vector", "params": {"dim": 5}}]
ENTITY = dict(zip(Row.__match_args__, ("k", "c", "audio", 0, 0.0, 1.0), strict=True))
ENTITY["vector"] = [1.0] * 5
ANSWERS = st.one_of(
    ANYTHING,
    st.builds(lambda fields: {"fields": fields}, st.one_of(st.just(SCHEMA), ANYTHING)),
    st.builds(lambda n: [{"count(*)": n}], ANYTHING),
    st.builds(
        lambda name, value: [[{"entity": ENTITY | {name: value}, "distance": 0.5}]],
        st.sampled_from(sorted(ENTITY)),
        ANYTHING,
    ),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(ANSWERS, min_size=1, max_size=3), st.sampled_from(["dim", "search", "count"]))
def test_a_server_may_answer_anything(answers: list[Any], asked: str) -> None:
    index = MilvusIndex("milvus://127.0.0.1:1", "t")
    if asked != "dim":
        index._width = 5
    given = iter([*answers, None])

    def ask(*_: Any, **how: Any) -> Any:
        return next(given, None)

    index._ask = index._query = ask  # type: ignore[method-assign]
    index._pages = lambda *_: iter([])  # type: ignore[method-assign]
    try:
        if asked == "search":
            index.search(np.ones((1, 5)), 1)
        else:
            assert getattr(index, "dim") if asked == "dim" else index.count() >= 0  # noqa: B009
    except EarsightError:
        return
