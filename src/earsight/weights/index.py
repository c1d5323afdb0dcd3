"""The package index that the user's pip is set up for, read without handing anything to pip.

Only the link of one file is looked up, by its exact name, on the page of its project: a PEP 503
page, its JSON form (PEP 691), or a folder or page given as `find-links`.
"""

import ast
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from earsight.weights.net import bare, opened
from earsight.weights.network import Timeouts, UnavailableError

_ACCEPT = (
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)
_DEFAULT = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def run_pip(
    *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run this Python's pip, with further environment variables as `settings`."""
    return _run("-m", "pip", *arguments, settings=settings)


def _run(
    *arguments: str, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # A constraints file must not change what is asked for by hash, and nothing gets installed.
    left_out = {"PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"}
    environment = {key: value for key, value in os.environ.items() if key not in left_out}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | dict(settings or {})
    return subprocess.run(
        [sys.executable, "-P", *arguments],  # nothing of the current folder is imported
        env=environment,
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
        listed = run_pip("config", "list")
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

    def in_reach(self, timeouts: Timeouts) -> tuple[str, ...]:
        """Return the index pages whose host answers, or that a proxy stands in front of."""
        if self.proxied:
            return self.pages
        return tuple(page for page in self.pages if _answers(page, timeouts.connect))

    def context(self, url: str) -> ssl.SSLContext:
        """Return the certificates to hold `url` against, as pip would."""
        context = ssl.create_default_context(cafile=self.cert or None)
        parts = urlsplit(url)
        if parts.hostname in self.trusted_hosts or parts.netloc in self.trusted_hosts:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def link(self, project: str, filename: str, timeouts: Timeouts) -> str:
        """Return the address of one file of a project.

        Raises:
            UnavailableError: No place has it; each is named with its reason.
        """
        reasons = []
        for place in self._places(project):
            try:
                for url in _links(place, timeouts, self.context(place)):
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
    asked = _run("-c", _DEFAULT)
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


def _links(place: str, timeouts: Timeouts, context: ssl.SSLContext) -> list[str]:
    """List the addresses of the files that a folder or a page offers."""
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        folder = Path(unquote(parts.path))
        page = folder / "index.html" if folder.is_dir() else folder
        if folder.is_dir() and not page.exists():
            return [path.absolute().as_uri() for path in folder.iterdir()]
        place = page.absolute().as_uri()
    with opened(place, timeouts, headers={"Accept": _ACCEPT}, context=context) as response:
        text = response.read().decode(errors="replace")
        kind = response.headers.get("Content-Type", "")
        address = response.url
    if "json" in kind:
        try:
            return [urljoin(address, file["url"]) for file in json.loads(text)["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"{bare(place)} is not a page of a package index") from error
    anchors = _Anchors(address)
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
