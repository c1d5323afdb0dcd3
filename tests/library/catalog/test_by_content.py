"""Clips looked up by content are those of the whole list; a file is found as the list has it."""

import hashlib
import os
from pathlib import Path

import pytest

from earsight.library.catalog.clips import ClipsByContent, clips_by, list_clips
from earsight.library.catalog.records import Content
from earsight.library.catalog.sqlite import Catalog

FEATURES = "f"
FILES = {  # path → what it holds
    b"a/dog.mp4": "dog",
    b"a/dog.txt": "says dog",
    b"a/dog.srt": "subtitles",  # the .txt wins
    b"a/dog.more.txt": "of another name",
    b"b/copy of dog.MP4": "dog",
    b"b/copy of dog.TXT": "says dog",
    b"b/dog.wav": "bark",
    b"b/\xff.mp4": "no name",
    b"rain.mp4": "rain",
    b"rain.wav": "drops",
    b"rain.srt": "says nothing",
    b"new.mp4": "not read",
}


def content(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Catalog:
    folder = tmp_path / "library"
    folder.mkdir()
    store = Catalog.made(folder)
    store.bind(tmp_path, agree=False)
    report = {"again": False, "message": "", "rows": {"audio": 1, "visual": 1}}
    read = [
        Content(content(what), "ok", 3.0, report, int(what != "says nothing"))
        for what in sorted({*FILES.values()} - {"not read"})
    ]
    files = [(path, 1, 2, content(what)) for path, what in FILES.items()]
    store.put_clips(files, FEATURES, read)
    store.put_clips([], "other", [Content(content("rain"), "partial", 1.0, report, 1)])
    return store


def test_each_is_looked_up_as_it_is_listed(store: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clips_by("content", list_clips(store, FEATURES))
    monkeypatch.setattr(store, "files", None)  # not asked for
    monkeypatch.setattr(store, "contents", None)
    found = ClipsByContent(store, FEATURES, lambda: [])
    for what in FILES.values():
        assert found.get(content(what)) == whole.get(content(what)), what
    assert len(found[content("dog")]) == 2 and found[content("dog")][0].text == content("says dog")
    assert content("nobody") not in found and content("says dog") not in found


def test_those_gone_through_are_all(store: Catalog) -> None:
    found = ClipsByContent(store, FEATURES, lambda: list_clips(store, FEATURES))
    assert content("dog") in found
    assert dict(found) == clips_by("content", list_clips(store, FEATURES)) and len(found) == 6
    assert found[content("dog")] == dict(found)[content("dog")]


def test_a_file_is_found_where_it_lies(store: Catalog) -> None:
    for path, what in FILES.items():
        file = store.root / os.fsdecode(path)
        found = store.clip_at(file)
        assert found is not None and found.content == content(what)
    assert store.clip_at(store.root / "a") is None is store.clip_at(Path("/elsewhere/rain.mp4"))


def test_what_is_read_is_known_until_it_changes(store: Catalog, tmp_path: Path) -> None:
    before = store.files()
    before.clear()  # the caller's own
    assert len(store.files()) == len(FILES) and len(store.contents(FEATURES)) == len(FILES) - 3
    with Catalog.at(tmp_path / "library", write=True) as other:
        other.move_and_drop({}, [b"rain.mp4"])
    assert b"rain.mp4" not in [file.path for file in store.files()]
    store.drop_contents(FEATURES, [content("bark")])
    assert content("bark") not in store.contents(FEATURES)
