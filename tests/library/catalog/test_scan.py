import os
import socket
from pathlib import Path

import pytest

from earsight.errors import LibraryError
from earsight.library.catalog.records import Clip
from earsight.library.catalog.scan import File, Scan, match_moves, scan
from earsight.untrusted import content_hash


def touch(root: Path, *names: str | bytes) -> None:
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def as_clip(file: File, content: str = "") -> Clip:
    return Clip(1, file.path, file.size, file.mtime_ns, content, None)


def paths(found: Scan) -> list[bytes]:
    return [file.path for file in found.fresh]


def test_media_are_found_and_the_rest_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP4", "deep/er/a.wav", "still.jpg", "notes.txt", "no_ending")
    found = scan(tmp_path, [])
    assert paths(found) == [b"b.MP4", b"deep/er/a.wav", b"still.jpg"]
    assert found.passed_over == 2


def test_hidden_and_excluded_files_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.mp4", "._a.mp4", ".earsight/x.mp4", "raw/a.mp4", "a_raw.mp4", "b.mp4")
    assert paths(scan(tmp_path, [])) == [b"a_raw.mp4", b"b.mp4", b"raw/a.mp4"]
    assert paths(scan(tmp_path, [], ["raw/"])) == [b"a_raw.mp4", b"b.mp4"]
    assert paths(scan(tmp_path, [], ["*raw*"])) == [b"b.mp4"]


def test_names_are_bytes(tmp_path: Path) -> None:
    names = ["two words.mp4", 'it\'s "so".mp4', "new\nline.mp4", b"not utf8 \xff.mp4"]
    touch(tmp_path, *names)
    assert set(paths(scan(tmp_path, []))) == {os.fsencode(name) for name in names}


def test_same_fresh_and_missing(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    known = [as_clip(file) for file in scan(tmp_path, []).fresh]
    (tmp_path / "b.mp4").write_bytes(b"another length")
    (tmp_path / "c.mp4").unlink()
    touch(tmp_path, "d.mp4")
    found = scan(tmp_path, known)
    assert [clip.path for clip in found.same] == [b"a.mp4"]
    assert paths(found) == [b"b.mp4", b"d.mp4"]
    assert [clip.path for clip in found.missing] == [b"c.mp4"]


def test_links_to_files_are_read_and_to_folders_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "out/a.mp4", "clips/real.mp4")
    (tmp_path / "clips" / "link.mp4").symlink_to(tmp_path / "out" / "a.mp4")
    (tmp_path / "clips" / "loop").symlink_to(tmp_path / "clips")
    (tmp_path / "clips" / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "clips" / "circle.mp4").symlink_to("circle.mp4")
    os.mkfifo(tmp_path / "clips" / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path / "clips")  # a socket's path is short
        listening.bind("socket.mp4")
        found = scan(tmp_path / "clips", [], ["socket.*"])
        assert b"socket.mp4" not in found.odd
        found = scan(tmp_path / "clips", [])
    assert paths(found) == [b"link.mp4", b"real.mp4"]
    assert found.linked == [b"loop"]
    nowhere = "a link that cannot be followed"
    assert found.odd == {
        b"circle.mp4": nowhere,
        b"dangling.mp4": nowhere,
        b"pipe.mp4": "a pipe",
        b"socket.mp4": "a socket",
    }


def test_texts_beside_clips_are_compared_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.txt", "b.mp4", "b.SRT", "b.txt", "c.srt", "d/a.txt")
    found = scan(tmp_path, [])
    assert paths(found) == [b"a.mp4", b"b.mp4"]
    assert [file.path for file in found.texts.fresh] == [b"a.txt", b"b.txt"]
    assert found.passed_over == 3
    known = [as_clip(file) for file in (*found.fresh, *found.texts.fresh)]
    (tmp_path / "a.txt").write_bytes(b"longer than it was")
    (tmp_path / "b.mp4").unlink()
    found = scan(tmp_path, known)
    assert paths(found) == [] and [clip.path for clip in found.missing] == [b"b.mp4"]
    assert [file.path for file in found.texts.fresh] == [b"a.txt"]
    assert [clip.path for clip in found.texts.missing] == [b"b.txt"]


def test_a_folder_that_cannot_be_read_keeps_its_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "lost+found/a.mp4", "b.mp4")
    known = [as_clip(file) for file in scan(tmp_path, []).fresh]
    real = os.scandir

    def closed(path: bytes) -> object:
        if path.endswith(b"lost+found"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = scan(tmp_path, known)
    assert not found.missing and len(found.same) == 2
    assert found.closed == {b"lost+found": "The folder cannot be read: Permission denied."}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"nowhere.* cannot be read: No such file"):
        scan(tmp_path / "nowhere", [])


def test_moves_are_matched_by_content_once_each() -> None:
    missing = [as_clip(File(name, 1, 1), content) for name, content in ((b"x", "A"), (b"y", "A"))]
    arrived = [(File(name, 1, 2), "A") for name in (b"1", b"2", b"3")]
    assert match_moves(missing, arrived) == {b"x": b"1", b"y": b"2"}
    assert match_moves(missing, [(File(b"1", 1, 2), "B")]) == {}


def test_content_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a").startswith("ba7816bf8f01cfea")
