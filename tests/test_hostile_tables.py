"""Tables that a stranger made: each call ends in an `EarsightError` or is fine, in its folder."""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _lance import added, edit_manifest, edited, latest, put_together, taken_apart
from _rows import make_rows
from earsight.errors import EarsightError, LibraryError
from earsight.features import FeatureSequence
from earsight.vectors import (
    HeldIndex,
    LanceIndex,
    MilvusIndex,
    Row,
    SequenceStore,
    StoredSequence,
    _received,
    table_names,
)
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
    """Both kinds of tables, with several versions and removed rows."""
    folder = tmp_path_factory.mktemp("made")
    index = LanceIndex(folder, "t")
    index.create(5)
    for first in (0, 300):
        index.upsert(make_rows(300, first), np.random.default_rng(first).normal(size=(300, 5)))
    index.delete(["c5"])
    index.delete([f"c{i}" for i in range(100, 180)])
    store = SequenceStore(folder, "s")
    store.create()
    sequence = FeatureSequence(np.ones((2, 3), "f4"), np.arange(2.0))
    store.upsert([StoredSequence(f"k{i}", "c", "yamnet", sequence) for i in range(3)])
    return folder


@pytest.fixture
def received(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "received"))


def listed(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Nothing outside is read, written or removed


def map_entry(key: bytes, value: bytes) -> bytes:
    return put_together([(1, key), (2, value)])


EDITS = {
    "the root of another table": added(18, put_together([(3, 1), (4, b"/elsewhere/t.lance")])),
    "a folder of files": added(18, put_together([(1, 1), (4, b"file:///elsewhere")])),
    "a server": added(18, put_together([(1, 1), (4, b"s3://bucket/t.lance")])),
    "a branch": added(20, b"main"),
    "a base of a data file": edited(2, edited(2, added(7, 1))),
    "a base of removed rows": edited(2, edited(3, added(7, 0))),
    "row ids elsewhere": edited(2, added(6, put_together([(1, b"../x")]))),
    "an overlay": edited(2, added(11, b"")),
    "a data file above": edited(2, edited(2, edited(1, lambda _: b"../../x.lance"))),
    "a transaction above": edited(12, lambda _: b"../../x.txn"),
    "code that makes vectors": added(5, map_entry(b"embedding_functions", b"[]")),
    "unknown features": added(9, 1 << 8),
    "a blob kept elsewhere": edited(1, edited(5, lambda _: b"blob")),
    "a width of 10^9": edited(1, edited(5, lambda _: b"fixed_size_list:float:1000000000")),
    "a fragment of 2^60 rows": edited(2, added(4, 1 << 60)),
    "another version": added(3, 77),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_manifest_that_names_what_is_elsewhere_is_refused(received: Path, what: str) -> None:
    versions = sorted((received / "t.lance" / "_versions").glob("*.manifest"))
    for file in (versions[0], versions[1]):  # tidying reads older versions too
        again = received.with_name(file.name)
        shutil.copytree(received, again)
        edit_manifest(again / file.relative_to(received), EDITS[what])
        index = LanceIndex(again, "t")
        for call in (index.count, index.rows, index.optimize, partial(index.delete, ["c1"])):
            with pytest.raises(LibraryError, match=rf"'t' in .*{file.name}: .*--rebuild"):
                call()
        index.drop()
        assert table_names(again) == ["s"]
        index.create(5)


def test_a_clone_reads_nothing_of_its_origin(made: Path, received: Path) -> None:
    """Made as LanceDB makes a shallow clone, which reads rows from where the other table lies."""
    root = put_together([(3, 1), (4, os.fsencode(made / "t.lance"))])
    based = edited(2, edited(2, added(7, 0)))
    flagged = edited(2, edited(3, added(7, 0)))
    shutil.rmtree(received / "t.lance" / "data")

    def clone(message: bytes) -> bytes:
        fields = taken_apart(flagged(based(message)))
        kept = [(n, v) for n, v in fields if n not in (9, 10)]
        return put_together([*kept, (9, 17), (10, 17), (18, root)])

    edit_manifest(latest(received / "t.lance"), clone)
    with pytest.raises(LibraryError, match="names files of another folder, as a clone does"):
        LanceIndex(received, "t").rows()


@pytest.mark.parametrize("inside", ["data", "_versions", "_transactions", "_deletions"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_links_in_a_table_are_refused_and_not_followed(
    made: Path, received: Path, inside: str, kind: str
) -> None:
    before = listed(made)
    target = received / "t.lance" / inside
    if kind == "folder":
        shutil.rmtree(target)
        target.symlink_to(made / "t.lance" / inside)
    else:
        target = sorted(target.iterdir())[0]
        target.unlink()
        target.symlink_to(made / target.relative_to(received))
    index = LanceIndex(received, "t")
    for call in (index.rows, index.optimize, lambda: index.delete(["c1"])):
        with pytest.raises(LibraryError, match=rf"{target.name}.* is a link"):
            call()
    assert listed(made) == before
    if target.name != "_versions":
        index.drop()
        assert not (received / "t.lance").exists()
    assert listed(made) == before


@pytest.mark.parametrize("place", ["t.lance", "."])
def test_a_link_in_the_place_of_a_table_or_of_all_is_refused(
    made: Path, tmp_path: Path, place: str
) -> None:
    before = listed(made)
    folder = tmp_path / "vectors"
    if place == ".":
        folder.symlink_to(made)
    else:
        folder.mkdir()
        (folder / place).symlink_to(made / place)
    index = LanceIndex(folder, "t")
    for call in (
        index.count,
        index.drop,
        index.optimize,
        lambda: index.exists,
        lambda: index.create(5),
        lambda: table_names(folder),
    ):
        with pytest.raises(LibraryError, match="is a link, where a library has a folder of its"):
            call()
    assert listed(made) == before


def test_what_is_no_table_of_ours_is_left_alone(received: Path) -> None:
    (received / "a\nb.lance").mkdir()
    (received / "..lance").mkdir()
    (received / "x.lance").write_text("a file")
    with pytest.raises(LibraryError, match=r"x\.lance is no folder"):
        table_names(received)
    (received / "x.lance").unlink()
    assert table_names(received) == ["s", "t"]


def test_tags_branches_and_pipes_are_refused(received: Path) -> None:
    index = LanceIndex(received, "t")
    (received / "t.lance" / "_refs" / "tags").mkdir(parents=True)
    with pytest.raises(LibraryError, match="no table of Earsight's has such a folder"):
        index.count()
    shutil.rmtree(received / "t.lance" / "_refs")
    assert index.count() == 600 - 3 - 240
    os.mkfifo(received / "t.lance" / "data" / "pipe")
    with pytest.raises(LibraryError, match="it is neither a file nor a folder"):
        index.count()


def test_a_damage_that_comes_later_is_seen(received: Path) -> None:
    index = LanceIndex(received, "t")
    assert index.count()
    (file, *_) = sorted((received / "t.lance" / "data").iterdir())
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data[:-50])
    with pytest.raises(LibraryError, match=f"{file.name}: it is none of LanceDB's, or cut off"):
        index.rows()


def test_a_table_that_did_not_change_is_not_looked_at_again(
    received: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LanceIndex(received, "t")
    (received / "t.lance" / "_indices" / "gone").mkdir(parents=True)
    index.count()
    (received / "t.lance" / "_indices" / "gone").rmdir()
    index.count()
    with monkeypatch.context() as patch:
        patch.setattr(_received, "_check_folder", lambda *_: pytest.fail("it was looked at"))
        assert index.count() and index.rows() and index.dim == 5
    index.delete(["c1"])
    (received / "t.lance" / "data" / "link").symlink_to("/")
    with pytest.raises(LibraryError, match="link: it is a link"):
        index.count()


# Reading ends in an error of ours, or is fine


class Opener:
    """A process that uses tables, as LanceDB may end it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def used(self, folder: Path) -> str:
        if self.process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("_opener.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        return said or f"foreign: the process ended with {self.close()}"

    def close(self) -> int:
        if self.process is None:
            return 0
        self.process.communicate()
        code, self.process = self.process.returncode, None
        return code


@pytest.fixture(scope="module")
def opener() -> Iterator[Opener]:
    one = Opener()
    yield one
    one.close()


def damaged(data: bytes, draw: Any) -> bytes:
    """Return the content of a file, damaged in one of several ways."""
    kind = draw(st.sampled_from(["flips", "end", "large", "cut", "empty"]))
    changed = bytearray(data)
    if kind in ("flips", "end"):
        last = len(changed) if kind == "flips" else min(len(changed), 200)
        for _ in range(draw(st.integers(1, 8))):
            changed[-1 - draw(st.integers(0, last - 1))] ^= draw(st.integers(1, 255))
    elif kind == "large":
        at = draw(st.integers(0, len(changed) - 1))
        value = draw(st.sampled_from([2**31, 2**40, 2**62, 2**64 - 1]))
        changed[at : at + 8] = struct.pack("<Q", value)
    else:
        del changed[draw(st.integers(0, len(changed) - 1)) if kind == "cut" else 0 :]
    return bytes(changed)


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


def changed(message: bytes, draw: Any, depth: int = 0) -> bytes:
    """Return a message with one field, there or deeper, that is another one."""
    fields = taken_apart(message)
    at = draw(st.integers(0, len(fields) - 1)) if fields else 0
    kind = draw(st.sampled_from(["value", "value", "again", "gone", "added", "deeper"]))
    if kind == "added" or not fields:
        value = draw(st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=40)))
        fields.insert(at, (draw(st.integers(1, 25)), value))
        return put_together(fields)
    number, value = fields[at]
    if kind == "deeper" and isinstance(value, bytes) and depth < 3:
        try:
            inner = changed(value, draw, depth + 1)
        except (IndexError, AssertionError):  # no message
            inner = draw(st.binary(max_size=40))
        fields[at] = (number, inner)
    elif kind == "again":
        fields.insert(at, fields[at])
    elif kind == "gone":
        del fields[at]
    elif isinstance(value, int):
        large = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1])
        fields[at] = (number, draw(st.one_of(large, st.integers(0, 2**64 - 1))))
    else:
        fields[at] = (number, draw(st.one_of(st.binary(max_size=40), st.text().map(str.encode))))
    return put_together(fields)


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
    for call in (*calls, lambda: HeldIndex.of(index)):
        with pytest.raises(LibraryError, match=r"Cannot read table 't' in .*a row"):
            call()


def test_vectors_that_are_not_finite_are_told(tmp_path: Path) -> None:
    index = LanceIndex(tmp_path, "t")
    index.create(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earsight.vectors.lance.check_batch", lambda rows, vectors, dim: vectors)
        index.upsert(make_rows(2), np.full((2, 5), np.inf, dtype=np.float32))
    calls = (lambda: list(index.read()), lambda: index.search(np.ones((1, 5)), 3))
    for call in (*calls, lambda: HeldIndex.of(index)):
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
