"""The API as a page or a script meets it, from a real server."""

import base64
import hashlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import earsight
from _clips import make_clip
from _folders import fill
from _server import Served, serving
from earsight.library.catalog.location import FOLDER
from earsight.library.reports.projection import project_library


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("served") / "my clips"))
    with serving(folder) as server:
        server.folder = folder
        yield server


def number(served: Served, path: str) -> int:
    found = served.get("/api/clips?limit=500").json["clips"]
    return next(int(clip["id"]) for clip in found if clip["path"] == path)


def test_the_library(served: Served) -> None:
    found = served.get("/api/library").json
    assert found["name"] == "my clips" and found["n_clips"] == 9
    assert found["labels"] == {"blue": 3, "red": 2} and found["space"] == "words"
    assert found["text"] is True and found["modalities"] == ["audio", "visual"]
    assert (found["trouble"], found["version"]) == (1, earsight.__version__)
    assert served.get("/api/library").json["state"] == found["state"]
    (broken,) = served.get("/api/trouble").json
    assert broken["path"] == "text.mp4" and broken["status"] == "unreadable" and broken["message"]


def test_clips_are_listed_and_filtered(served: Served) -> None:
    everything = served.get("/api/clips").json
    assert everything["total"] == len(everything["clips"]) == 9
    paths = [clip["path"] for clip in everything["clips"]]
    assert paths == sorted(paths) and 'blue/it\'s "so"\n %FF.mp4' in paths
    part = served.get("/api/clips?offset=2&limit=3").json
    assert part["total"] == 9 and part["clips"] == everything["clips"][2:5]
    assert served.get("/api/clips?label=red").json["total"] == 2
    assert served.get("/api/clips?max_seconds=0.5").json["clips"][0]["path"] == "short.mp4"
    assert served.get("/api/clips?name=A%20C").json["clips"][0]["path"] == "blue/a copy.mp4"
    one = everything["clips"][0]
    assert served.get(f"/api/clips/{one['id']}").json == one
    assert "no clip 99" in served.get("/api/clips/99").error


def test_words_clips_and_files_answer_as_the_library_does(served: Served) -> None:
    with earsight.Library(served.folder) as library:

        def same(reply: dict, answer: object) -> None:  # type: ignore[type-arg]
            got = [(one["id"], one["score"]) for one in reply["answers"]]
            want = [(one.id, one.score) for one in answer]  # type: ignore[attr-defined]
            assert [i for i, _ in got] == [i for i, _ in want]
            assert np.allclose([s for _, s in got], [s for _, s in want], atol=1e-5)

        words = served.get("/api/search?text=a+red+wall&for=visual").json
        same(words, library.search(text="a red wall", top=20))
        assert words["query"] == {
            "kind": "text", "name": "a red wall", "by": "text", "for": "visual",
        }  # fmt: skip
        b = number(served, "red/b.mp4")
        by_clip = served.get(f"/api/search?clip={b}&by=audio&top=3").json
        same(by_clip, library.search(clip=b, by="audio", top=3))
        assert by_clip["query"]["kind"] == "clip" and by_clip["query"]["for"] == "visual"
        assert [one["is_query"] for one in by_clip["answers"]].count(True) <= 1
        file = served.upload(served.folder / "red/b.mp4", "ünïcode näme.mp4", "?by=audio&label=red")
        same(file.json, library.search("red/b.mp4", by="audio", top=20, label="red"))
        assert file.json["query"]["name"] == "ünïcode näme.mp4"
        assert any(one["is_query"] for one in file.json["answers"])
        plane = project_library(library)
        assert file.json["point"] == pytest.approx(by_clip["point"], abs=1e-4)
        at = [i for i, c in enumerate(plane.clips) if c.id == b and plane.modalities[i] == "audio"]
        assert by_clip["point"] == pytest.approx(plane.points[at[0]].tolist(), abs=1e-4)


def test_notes_speak_of_parameters(served: Served) -> None:
    (note,) = served.get(f"/api/search?clip={number(served, 'red/a.mp4')}").json["notes"]
    assert "asking by its sight" in note and "by=audio" in note and "--" not in note
    silent = number(served, "silent.mp4")
    assert "by=visual" in served.get(f"/api/search?clip={silent}&by=audio").error


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("text=a&clip=1", 400),
        ("text=%20", 400),
        ("clip=99", 404),
        ("text=a&top=0", 422),
        ("text=a&for=smell", 422),
        ("text=a&by=audio", 400),
        ("text=a&min_seconds=nan", 422),
        ("text=a&colour=red", 422),
        ("text=" + 600 * "many+", 422),
    ],
)
def test_questions_that_cannot_be_asked(served: Served, query: str, status: int) -> None:
    reply = served.get(f"/api/search?{query}")
    assert reply.status == status and reply.error


def test_a_file_and_its_ranges(served: Served) -> None:
    blob = (served.folder / "red/a.mp4").read_bytes()
    at = f"/api/clips/{number(served, 'red/a.mp4')}/media"
    whole = served.get(at)
    assert whole.body == blob and whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    n = len(blob)
    for asked, want in {
        "bytes=0-9": blob[:10],
        "bytes=5-": blob[5:],
        "bytes=-7": blob[-7:],
        f"bytes={n - 1}-{n + 100}": blob[-1:],
    }.items():
        part = served.get(at, Range=asked)
        assert part.status == 206 and part.body == want, asked
        assert part.headers["content-range"].endswith(f"/{n}")
    assert served.get(at, Range=f"bytes={n}-").status == 416
    many = "bytes=" + ",".join("0-" for _ in range(1000))  # is no way to get more than the file
    assert len(served.get(at, Range=many).body) == n


def test_thumbnails(served: Served) -> None:
    make_clip(served.folder / "red/b.mp4", colour=(10, 200, 30))  # a file that changes meanwhile
    at = f"/api/clips/{number(served, 'red/b.mp4')}/thumbnail"
    reply = served.get(at)
    picture = Image.open(io.BytesIO(reply.body))
    assert reply.headers["content-type"] == "image/jpeg" and picture.size == (320, 240)
    assert np.allclose(np.asarray(picture).mean(axis=(0, 1)), (10, 200, 30), atol=12)
    assert served.get(f"{at}?at=0.9").status == 200 and served.get(f"{at}?at=1e9").status == 200
    assert served.get(f"{at}?at=-1").status == 422
    sound = number(served, "sound.wav")
    assert "has no video" in served.get(f"/api/clips/{sound}/thumbnail").error
    assert served.get(f"/api/clips/{number(served, 'text.mp4')}/thumbnail").status == 404


def test_waveforms(served: Served) -> None:
    found = served.get(f"/api/clips/{number(served, 'sound.wav')}/waveform").json
    assert len(found["peaks"]) == 200 and found["seconds"] == pytest.approx(1, abs=0.05)
    assert max(found["peaks"]) == 1 and min(found["peaks"]) >= 0
    silent = number(served, "silent.mp4")
    assert "has no sound" in served.get(f"/api/clips/{silent}/waveform").error


def test_the_map(served: Served) -> None:
    found = served.get("/api/map").json
    assert len(found["points"]) == found["total"] == 7 + 7 and 0 < found["explained"] <= 1
    assert {point["modality"] for point in found["points"]} == {"audio", "visual"}
    with earsight.Library(served.folder) as library:
        sounds, sights = (library.embeddings(m) for m in ("audio", "visual"))
        z = np.concatenate([sounds.vectors, sights.vectors]).astype(float)
        singular = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)
        share = (singular[:2] ** 2).sum() / (singular**2).sum()
        assert found["explained"] == pytest.approx(share, abs=1e-6)
        few = project_library(library, most=3)
        assert len({clip.id for clip in few.clips}) == 3 and few.total == 14
        assert np.array_equal(few.points, project_library(library, most=3).points)


def test_quality_is_measured_in_the_background(served: Served) -> None:
    assert served.get("/api/quality").json["state"] == "none"
    assert served.ask("/api/quality", "POST").json["state"] in ("running", "ready")
    found = served.until("/api/quality", lambda one: one["state"] != "running")
    assert found["state"] == "ready", found
    result = found["result"]
    assert result["n_clips"] == 5 and set(result["directions"]) == {
        "audio->visual",
        "visual->audio",
    }
    assert result["confusion"]["k"] == 5 and result["per_class"][0]["label"] == "blue"
    assert result["best"][0]["clip"]["path"] and result["best"][0]["answers"][0]["id"]


def test_the_page_and_the_documentation(served: Served) -> None:
    page = served.get("/")
    assert page.headers["content-type"].startswith("text/html") and b"Earsight" in page.body
    assert served.get("/page/page.css").headers["content-type"].startswith("text/css")
    docs = served.get("/docs")
    for address in re.findall(r'(?:src|href|url)[=:] ?["\']([^"\']+)', docs.body.decode()):
        assert served.get(address).status == 200, address  # a path: nothing comes from elsewhere
    script = re.search(rb"<script>(.*?)</script>", docs.body, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1]).digest()).decode()
    assert f"'sha256-{digest}'" in docs.headers["content-security-policy"]
    for outside in ("/app.py", "/nothing", "/api/nothing", "/docs/x"):
        assert served.get(outside).status == 404 and served.get(outside).error


def test_indexing_from_the_page(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    fill(clips, ["red/a.mp4", "blue/b.mp4"])
    with serving(clips) as served:
        empty = served.get("/api/library").json
        assert (empty["space"], empty["n_clips"], empty["name"]) == (None, 0, "clips")
        assert "Run: earsight index" in served.get("/api/search?text=a").error
        assert not (clips / FOLDER).exists()
        assert served.ask("/api/index", "POST").json["running"]
        found = served.until("/api/index", lambda one: not one["running"])
        assert found["error"] is None and found["report"]["n_clips"] == 2
        assert found["report"]["added"] == 2
        first = served.get("/api/library").json
        assert first["n_clips"] == 2 and len(served.get("/api/search?text=a").json["answers"]) == 2
        make_clip(clips / "red/c.mp4", tone=900)
        served.ask("/api/index", "POST")
        served.until("/api/index", lambda one: not one["running"])
        second = served.get("/api/library").json
        assert second["n_clips"] == 3 and second["state"] != first["state"]
        assert len(served.get("/api/search?text=a").json["answers"]) == 3
        shutil.rmtree(clips / "red")
        shutil.rmtree(clips / "blue")
        served.ask("/api/index", "POST")
        failed = served.until("/api/index", lambda one: not one["running"])
        assert "knows 3 clips" in failed["error"]
        gone = served.get("/api/clips/1/media")
        assert gone.status == 404 and "index again" in gone.error
