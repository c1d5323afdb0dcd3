"""Weights: what is believed, and what happens when a source, a disk or a file is bad.

Every server here is on this machine, and every catalogue is made on the spot.
"""

import errno
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from _weights import NET, OTHER, Site, download, files_in, member, serving, sha, store
from earsight import weights
from earsight.errors import InputError, UnknownNameError, WeightsError
from earsight.weights import conversion
from earsight.weights.cache import git_blob
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.entries import Download, Installed, Member, Timeouts, Weights
from earsight.weights.store import Store


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


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
    assert seen[-1] == ("net", len(NET), len(NET))
    assert here.obtain("net").files == held.files
    assert conversion.local(here, "net") and conversion.checksum(here, "net") == sha(NET)
    assert site.hits["/net.pth"] == 1


def test_weights_that_are_here_need_no_network_package() -> None:
    code = (
        "import sys, earsight.weights as w; w.Store(given=None).held('yamnet')\n"
        "assert not {'pooch', 'requests', 'urllib3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_of_one_source_are_told_apart(site: Site, tmp_path: Path) -> None:
    site.put("/net.pth", NET)
    other = member(site, name="names.txt", sha256=sha(OTHER), url=site.put("/names.txt", OTHER))
    seen: list[str] = []
    store(tmp_path, download(member(site), other)).obtain(
        "net", progress=lambda what, done, total: seen.append(what)
    )
    assert list(dict.fromkeys(seen)) == ["net, net.pth", "net, names.txt"]


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


def test_a_transfer_that_breaks_off_is_tried_once_more(site: Site, tmp_path: Path) -> None:
    def first(request: BaseHTTPRequestHandler) -> None:
        site.put("/net.pth", NET)
        request.send_response(503)
        request.end_headers()

    site.pages["/net.pth"] = first
    here = store(tmp_path, download(member(site)))
    seen: list[int] = []
    here.obtain("net", progress=lambda what, done, total: seen.append(done))
    assert site.hits["/net.pth"] == 2 and seen[-1] == len(NET)


def test_a_server_that_says_nothing_is_left(site: Site, tmp_path: Path) -> None:
    over = threading.Event()
    site.pages["/net.pth"] = lambda request: over.wait(30) and None
    here = replace(store(tmp_path, download(member(site))), timeouts=Timeouts(read=0.3))
    with pytest.raises(WeightsError, match=r"sent nothing for 0\.3 s"):
        here.obtain("net")
    over.set()
    assert site.hits["/net.pth"] == 1


@pytest.mark.parametrize("when", ["at once", "half way"])
def test_a_lost_connection_is_told(site: Site, tmp_path: Path, when: str) -> None:
    def lost(request: BaseHTTPRequestHandler) -> None:
        if when == "half way":
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.end_headers()
            request.wfile.write(b"10\r\nhalf a")
        request.connection.close()

    site.pages["/net.pth"] = lost
    with pytest.raises(WeightsError, match=r"there: http://127\.0\.0\.1:\d+/net\.pth: \S"):
        store(tmp_path, download(member(site))).obtain("net")
    assert files_in(tmp_path / "home") == set()


def test_connecting_has_its_own_shorter_patience(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = []

    def never(_: object, timeout: float, **__: object) -> socket.socket:
        patience.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", never)
    monkeypatch.setenv("no_proxy", "*")
    here = store(tmp_path, download(member(site)))
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
    with pytest.raises(
        WeightsError, match="used only when asked: earsight weights pull net --source there"
    ):
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


@pytest.mark.parametrize(
    "place",
    ["net.pth", "net/net.pth", "net/original/net.pth", "weights/net/original/net.pth"],  # a cache
)
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
            Member(name="version.py", sha256=sha(blob.read_bytes()), inside=("numpy/version.py",)),
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
