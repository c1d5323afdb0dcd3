"""The file that other programs read: whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from _folders import QUICK, fill, rows
from earsight.errors import InputError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.embedding.feature_tables import embedding_table
from earsight.library.indexing.forget import forget_clips
from earsight.library.indexing.pipeline import index
from earsight.library.reports import export as module
from earsight.library.reports.export import export_library
from earsight.library.search.searcher import search
from earsight.paths import as_text


def read(file: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows and `about` of either format."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return table.to_pylist(), json.loads(table.schema.metadata[b"about"])
    with np.load(file, allow_pickle=False) as arrays:
        columns = {name: arrays[name].tolist() for name in arrays.files if name != "about"}
        found = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        for row in found:
            row["label"] = row["label"] or None
        return found, json.loads(str(arrays["about"]))


@pytest.fixture(params=[".parquet", ".npz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"out{request.param}"


def test_every_row_of_every_clip(made: Path, file: Path) -> None:
    report = export_library(made, file)
    found, about = read(file)
    with open_library(made / FOLDER) as store:
        current = store.current()
        assert current is not None
        clips = {as_text(clip.path): clip for clip in store.clips()}
        table = embedding_table(store.folder, current.table)
        stored = {
            row.key: vector
            for rows, vectors in table.read()
            for row, vector in zip(rows, vectors, strict=True)
        }
    copy = 2  # the rows of a copy are there once for each of its files
    assert len(found) == report.n_rows == len(rows(made)) + copy and report.dim == len(
        found[0]["vector"]
    )
    assert report.n_clips == 8 and about["space"] == report.space == "words"
    in_order = list(clips)  # by path, then by modality
    places = [(in_order.index(row["path"]), row["modality"], row["window"]) for row in found]
    assert places == sorted(places)
    for row in found:
        clip = clips[row["path"]]
        assert (row["id"], row["label"], row["content"]) == (clip.id, clip.label, clip.content)
        key = f"{clip.content}:{row['window']:06d}:{row['modality']}"
        assert np.array_equal(np.float32(row["vector"]), stored[key])
        assert 0 == row["start"] < row["end"] < 2


def test_a_dot_product_is_the_score(made: Path, file: Path) -> None:
    export_library(made, file)
    vectors = {(r["path"], r["modality"]): np.array(r["vector"]) for r in read(file)[0]}
    asked = vectors["red/b.mp4", "audio"]
    for result in search(made, "red/b.mp4", by="audio", top=99).results:
        path = os.path.relpath(result.path, made)
        assert asked @ vectors[path, "visual"] == pytest.approx(result.score, abs=1e-5)


def test_nothing_is_replaced_unasked(made: Path, file: Path) -> None:
    file.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"is there already\. .*--force"):
        export_library(made, file)
    assert file.read_bytes() == b"mine"
    export_library(made, file, force=True)
    assert read(file)[0]
    with pytest.raises(InputError, match=r"\.parquet and \.npz files; got 'out\.csv'"):
        export_library(made, file.with_suffix(".csv"))


def test_a_failure_leaves_what_was_there(
    made: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_rows", full)
    with pytest.raises(LibraryError, match=r"No space left.*MiB are free.*Nothing of it was kept"):
        export_library(made, file, force=True)
    assert file.read_bytes() == b"mine" and list(file.parent.iterdir()) == [file]
    with pytest.raises(LibraryError, match="There is no folder"):
        export_library(made, file.parent / "nowhere" / file.name)


def test_the_text_beside_a_clip_is_no_clip(tmp_path: Path) -> None:
    fill(tmp_path / "clips", ["red/a.mp4", "red/b.mp4"])
    (tmp_path / "clips/red/a.txt").write_text("a red wall")
    index(tmp_path / "clips", **QUICK)
    report = export_library(tmp_path / "clips", tmp_path / "out.npz")
    assert (report.n_clips, report.n_rows) == (2, 5)


def test_forgotten_clips_are_not_in_it(library: Path, file: Path) -> None:
    forget_clips(library, ["red/b.mp4"])
    export_library(library, file)
    assert "red/b.mp4" not in {row["path"] for row in read(file)[0]}


def test_an_index_that_overtakes_it(
    library: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._rows

    def overtaken(*what: Any) -> Any:
        monkeypatch.undo()
        index(library, rebuild=True)  # the table that was to be read is gone
        return real(*what)

    monkeypatch.setattr(module, "_rows", overtaken)
    assert export_library(library, file).n_clips == 8
    assert len(read(file)[0]) == 14
