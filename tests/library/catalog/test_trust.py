"""What a library asks for outside of itself, and what its user agreed to on this machine."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import earsight
from _received import SECRET, edited, listening, set_fact, set_info, set_settings
from earsight import discovery
from earsight.cli import _trust, app
from earsight.errors import EarsightError, LibraryError
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.open import open_library
from earsight.library.catalog.trust import NotTrustedError, Request, Trust, requests_of
from earsight.library.embedding.settings import open_requests
from earsight.library.indexing.pipeline import index, refresh
from earsight.library.reports.doctor import check_library
from earsight.library.reports.evaluate import evaluate_library
from earsight.library.reports.status import library_status
from earsight.library.search.searcher import search

LABELS = "path,label\nred/a.mp4,first\nred/b.mp4,first\nblue/c.mp4,second\n"


# What it asks for


def test_a_server_that_a_library_names_is_not_contacted(library: Path) -> None:
    before = search(library, text="red", top=9)
    with listening() as ear:
        set_settings(library, index=ear.address)
        for use in (index, refresh):
            with pytest.raises(NotTrustedError, match=ear.address) as caught:
                use(library)
            assert "--trust-library" in str(caught.value) and "--index embedded" in str(
                caught.value
            )
        after = search(library, text="red", top=9)
        assert [(one.path, one.score) for one in after.results] == [
            (one.path, one.score) for one in before.results
        ]
        library_status(library), check_library(library), evaluate_library(library)
        assert ear.heard == 0
        with pytest.raises(LibraryError):  # agreed to: it is asked, and is no Milvus
            index(library, trust=True)
        assert ear.heard > 0
        assert index(library, index="embedded").changes.added == 0


def test_vectors_on_a_server_are_made_again_here(library: Path, tmp_path: Path) -> None:
    queries = [{"text": "red"}, {"query": library / "red/a.mp4"}, {"query": library / "sound.wav"}]
    before = [search(library, top=9, **query).results for query in queries]
    with listening() as ear:
        where = {"index": ear.address, "table": f"earsight_{'0' * 16}_1_{'0' * 8}", "dim": 384}
        set_info(library, lambda info: info.update(where))
        set_settings(library, index=ear.address)
        for query, known in zip(queries, before, strict=True):
            answer = search(library, top=9, **query)
            assert [(one.path, one.score) for one in answer.results] == [
                (one.path, one.score) for one in known
            ]
            (note,) = (one for one in answer.notes if ear.address in one)
            assert "made again" in note
        with earsight.Library(library) as opened:
            assert opened.search(text="red").results
            assert len(opened.embeddings("visual").clips) > 1
        assert "--trust-library" in library_status(library).index_trouble
        left = {one.check: one for one in check_library(library) if one.state != "fine"}
        assert (
            set(left) == {"active embedding", "request"}
            and left["active embedding"].state == "warning"
        )
        assert ear.heard == 0


def test_collections_that_a_library_says_it_made_are_not_dropped(library: Path) -> None:
    with listening() as ear:
        set_fact(library, f"made:earsight_{'0' * 16}_1_{'0' * 8}", [ear.address, 0])
        index(library)
        assert ear.heard == 0


def test_labels_of_any_file_are_not_read(library: Path, precious: Path) -> None:
    set_settings(library, labels=str(precious / "file.txt"))
    with pytest.raises(NotTrustedError, match="read the file") as caught:
        index(library)
    assert SECRET not in str(caught.value) and "--labels folders" in str(caught.value)
    with pytest.raises(EarsightError) as agreed:
        index(library, trust=True)
    assert SECRET not in str(agreed.value)
    assert index(library, labels="folders").changes.added == 0


def test_labels_in_the_clips_folder_are_its_own(library: Path, precious: Path) -> None:
    (library / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(library / "labels.csv"))
    assert "first" in index(library).labels
    (library / "labels.csv").unlink()
    (library / "labels.csv").symlink_to(precious / "file.txt")
    with pytest.raises(NotTrustedError, match="read the file"):
        index(library)


@pytest.mark.parametrize(
    ("name", "spec", "kind"),
    [
        ("audio", "clap:model=owner/name", "model"),
        ("visual", "inception:pca=/somewhere/pca.safetensors", "file"),
        ("learn", "tnn:checkpoint=/somewhere", "folder"),
    ],
)
def test_files_and_models_that_a_library_names(
    library: Path, name: str, spec: str, kind: str
) -> None:
    set_settings(library, **{name: spec})
    with pytest.raises(NotTrustedError) as caught:
        index(library)
    assert [one.kind for one in caught.value.requests] == [kind]
    assert len(search(library, text="red").results) > 1  # what answers was made without it


def test_a_library_made_by_extractors_that_ask_for_files(library: Path) -> None:
    spec = "inception:pca=/somewhere/pca.safetensors"
    set_info(library, lambda info: info["sources"].update(visual=spec))
    known = search(library, library / "red/a.mp4", top=9).results
    assert len(known) > 1  # a clip of its own, by its stored vectors
    with pytest.raises(NotTrustedError, match="pca"):
        search(library, text="red")
    with pytest.raises(NotTrustedError, match="pca"):
        evaluate_library(library)


def test_a_plug_in_is_not_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"mine": "module_that_is_not_there"}
    monkeypatch.setattr("earsight.discovery.names", lambda floor: names)
    assert requests_of({"learn": "mine"}) == [Request("plugin", "mine (module_that_is_not_there)")]


def test_what_ours_need_is_no_request() -> None:
    for settings in (
        {"audio": "yamnet", "visual": "efficientnet", "ears": "yamnet", "labels": "folders"},
        {"audio": "soundnet:layer=conv5", "visual": "none", "learn": "tnn:epochs=3"},
        {"learn": "auto", "index": "embedded", "visual": "inception"},
    ):
        assert requests_of(settings) == []


# Agreeing


def test_what_is_given_here_is_the_users_word(library: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    index(library, labels=str(tmp_path / "labels.csv"))
    assert index(library).labels  # the second day
    copy = Path(shutil.copytree(library, tmp_path / "copy"))
    with pytest.raises(NotTrustedError):
        index(copy)
    assert earsight.trust_library(copy) == [Request("file", str(tmp_path / "labels.csv"))]
    assert index(copy).labels and earsight.trust_library(copy) == []


def test_what_was_agreed_to_is_private_and_can_be_taken_back(library: Path) -> None:
    with open_library(library / FOLDER) as store:
        trust, identity = store.trust, store.identity
    trust.allow([Request("server", "milvus://a:1")])
    assert trust.file.stat().st_mode & 0o077 == trust.file.parent.stat().st_mode & 0o077 == 0
    assert json.loads(trust.file.read_text())["allowed"] == [["server", "milvus://a:1"]]
    Trust(library / FOLDER, identity).check([Request("server", "milvus://a:1")])
    with pytest.raises(NotTrustedError):
        Trust(library / FOLDER, identity).check([Request("server", "milvus://b:1")])
    trust.file.write_text("{")
    with pytest.raises(LibraryError, match="Remove that file"):
        assert Trust(library / FOLDER, identity).allowed


def test_the_command_line_refuses_and_agrees(library: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(tmp_path / "labels.csv"))
    run = CliRunner()
    refused = run.invoke(app, ["index", str(library)])
    assert refused.exit_code == 1 and isinstance(refused.exception, NotTrustedError)
    agreed = run.invoke(app, ["index", str(library), "--trust-library"])
    assert agreed.exit_code in (0, 3), agreed.output
    again = run.invoke(app, ["index", str(library)])
    assert again.exit_code in (0, 3) and "Nothing to do" in again.output


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked(library: Path, tmp_path: Path, answer: str) -> None:
    (tmp_path / "labels.csv").write_text(LABELS)
    set_settings(library, labels=str(tmp_path / "labels.csv"))
    here, there = os.openpty()
    command = [sys.executable, "-m", "earsight", "index", str(library)]
    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there) as process:
        os.close(there)
        shown = b""
        while b"Agree" not in shown:
            shown += os.read(here, 4096)
        assert b"read the file" in shown and b"labels.csv" in shown
        os.write(here, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # the terminal is gone when the process is
            while more := os.read(here, 4096):
                shown += more
    os.close(here)
    assert process.returncode == (3 if answer == "y" else 1)  # 3: text.mp4 is no film
    assert (b"Labels: " in shown) == (answer == "y")


def test_an_agreement_is_for_what_was_shown(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question for each thing that is met; nothing that came in between is agreed to."""
    (tmp_path / "labels.csv").write_text(LABELS)
    place = tmp_path / "place"
    (library / FOLDER).rename(place)
    set_fact(place, "root", os.fsencode(tmp_path / "another").hex())
    set_settings(place, labels=str(tmp_path / "labels.csv"))
    shown: list[list[Request]] = []

    def agrees(_: str, asked: list[Request]) -> bool:
        shown.append(list(asked))
        return len(shown) == 1

    monkeypatch.setattr(_trust, "_terminal", lambda: True)
    monkeypatch.setattr(_trust, "_agrees", agrees)
    done = CliRunner().invoke(app, ["index", str(library), "--library", str(place)])
    assert isinstance(done.exception, LibraryError) and "Not agreed" in str(done.exception)
    assert [[one.kind for one in asked] for asked in shown] == [["clips"], ["file"]]


def test_a_search_agrees_to_what_was_shown(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_settings(library, index="milvus://one:1")

    def agrees(*_: Any) -> bool:
        set_settings(library, index="milvus://other:1")  # by whoever wrote the library
        return True

    monkeypatch.setattr(_trust, "_agrees", agrees)
    assert CliRunner().invoke(app, ["search", "-t", "red", "-l", str(library)]).exit_code == 0
    assert [one.what for one in open_requests(library)[1]] == ["milvus://other:1"]


@pytest.mark.parametrize("command", ["search -t red", "evaluate", "export {}/out.npz"])
def test_every_command_takes_the_agreement(library: Path, tmp_path: Path, command: str) -> None:
    set_settings(library, labels="/somewhere/labels.csv")
    assert open_requests(library)[1]
    words = [*command.format(tmp_path).split(), "--library", str(library), "--trust-library"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert open_requests(library)[1] == []


def test_what_serve_leaves_out_is_told(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_settings(library, index="milvus://one:1")
    monkeypatch.setattr("earsight.web.server.serve", lambda *_, **__: None)
    done = CliRunner().invoke(app, ["serve", "--library", str(library)])
    assert "Left out" in done.stderr and "milvus://one:1" in done.stderr


def test_a_model_of_a_plug_in_is_not_loaded_unasked(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "mine_plugin.py").write_text(f"open({str(ran)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    names = discovery.names("methods") | {"mine": "mine_plugin"}
    monkeypatch.setattr(discovery, "names", lambda floor: names)
    with open_library(library / FOLDER) as store:
        current = store.current()
    assert current is not None
    header = library / FOLDER / "models" / str(current.id) / "bridge" / "model.json"
    data = json.dumps(json.loads(header.read_text()) | {"method": "mine"}).encode()
    header.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    set_info(library, lambda info: info["model"].update({"bridge/model.json": digest}))
    with pytest.raises(NotTrustedError, match="plug-in mine"):
        search(library, text="red")
    assert not ran.exists()


def test_another_library_in_its_place_is_another_one(library: Path, tmp_path: Path) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    index(library, library=place)
    shutil.copytree(library, other, ignore=shutil.ignore_patterns(FOLDER))
    index(other, library=tmp_path / "others")
    shutil.rmtree(place)
    (tmp_path / "others").rename(place)  # as a stick that is changed for another
    with earsight.Library(place) as opened:
        assert {clip.root for clip in opened.clips()} == {None}


def test_a_library_that_was_taken_out_of_its_folder_is_bound_by_a_word(
    library: Path, tmp_path: Path
) -> None:
    (library / FOLDER).rename(tmp_path / "stick")
    assert index(library, library=tmp_path / "stick").changes.added == 0


def test_two_agreements_at_once_are_both_kept(library: Path) -> None:
    with open_library(library / FOLDER) as store:
        identity = store.identity
    records = [Trust(library / FOLDER, identity) for _ in range(8)]
    for record in records:
        assert not record.allowed
    asked = [Request("server", f"milvus://host:{number}") for number in range(8)]
    threads = [
        threading.Thread(target=record.allow, args=([one],))
        for record, one in zip(records, asked, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Trust(library / FOLDER, identity).allowed == frozenset(asked)


def test_who_asks_for_nothing_needs_no_configuration(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EARSIGHT_CONFIG", str(tmp_path / "file" / "below"))
    assert index(library).changes.added == 0 and len(search(library, text="red").results) > 1
    with pytest.raises(LibraryError, match="EARSIGHT_CONFIG"):
        index(library, library=tmp_path / "place")


def test_every_parameter_that_is_text_is_known() -> None:
    """A new one may name a file or a server: then `trust` must ask, else it is listed here."""
    harmless = {("methods", "zero_shot", "prior")}  # numbers by modality
    for floor in ("methods", "extractors"):
        for name in discovery.names(floor):
            for one in dataclasses.fields(discovery.load(floor, name)):
                if (
                    not one.init
                    or "str" not in str(one.type)
                    or (floor, name, one.name) in harmless
                ):
                    continue
                spec = {
                    "learn" if floor == "methods" else "audio": f"{name}:{one.name}=/some/where"
                }
                assert requests_of(spec), f"{floor}/{name}: {one.name} names something"


def test_settings_that_could_not_be_read_again_are_refused(library: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"labels \xff.csv")
    odd.write_text(LABELS)
    assert "first" in index(library, labels=str(odd)).labels
    assert "first" in index(library).labels and len(search(library, text="red").results) > 1
    for changes in ({"exclude": ("x" * 300,)}, {"exclude": ("a\0b",)}):
        with pytest.raises(EarsightError, match="cannot be remembered"):
            index(library, **changes)  # type: ignore[arg-type]
    odd.write_text(LABELS.replace("second", "x" * 5000))
    with pytest.raises(EarsightError, match="A label may have"):
        index(library)
    assert index(library, labels="folders").changes.added == 0


def test_a_library_of_an_older_earsight_is_made_anew(library: Path) -> None:
    set_info(library, lambda info: [info.pop(name) for name in ("roles", "model")])
    with edited(library) as db:
        db.execute("DELETE FROM meta WHERE key = 'identity'")
    with pytest.raises(EarsightError, match="--rebuild"):
        search(library, text="red")
    library_status(library), check_library(library)
    report = index(library)
    assert report.rebuilt and report.changes.again == 0
    assert len(search(library, text="red").results) > 1


def test_a_newer_library_is_not_called_damaged(library: Path) -> None:
    with edited(library) as db:
        db.execute("ALTER TABLE clips ADD COLUMN more TEXT")
    set_fact(library, "format", 99)
    with pytest.raises(LibraryError, match="Update Earsight"):
        search(library, text="red")


def test_a_library_elsewhere_has_a_name_of_its_own(library: Path, tmp_path: Path) -> None:
    with pytest.raises(EarsightError, match="Choose another name"):
        index(library, library=tmp_path / "x" / FOLDER)
    assert not (tmp_path / "x").exists()
