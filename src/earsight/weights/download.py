"""Reading an address with pooch: a short patience for connecting, a longer one for the bytes.

Nothing here is imported before something is fetched, as pooch brings requests.
"""

import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pooch
import requests
from urllib3.exceptions import IncompleteRead, ReadTimeoutError

from earsight.weights.entries import Timeouts, UnavailableError
from earsight.weights.progress import Progress

_CHUNK = 1 << 17
_PLAIN = {"User-Agent": "earsight", "Accept-Encoding": "identity"}


def bare(url: str) -> str:
    """Return an address without the user name and password that it may carry.

    >>> bare("https://me:secret@index.example/simple/")
    'https://index.example/simple/'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def download(
    url: str,
    target: Path,
    *,
    timeouts: Timeouts,
    progress: Progress,
    verify: bool | str | None = None,
) -> None:
    """Write what an address sends into `target`; a transfer that breaks off is tried once more.

    The caller checks the bytes, as it does those of files that came in another way.

    Args:
        url: The address; file: serves too.
        target: The file to write. It appears only when it is whole.
        timeouts: How long to wait.
        progress: Told how far it is.
        verify: Certificates to hold the host against, or False; None: those of this machine.

    Raises:
        UnavailableError: No connection, another answer than the file, silence, or an early end.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        shutil.copyfile(unquote(parts.path), target)
        return
    arriving = _Arriving(target.name, progress)
    options = _options(url, timeouts, verify) | {"headers": _PLAIN}
    http = pooch.HTTPDownloader(progressbar=arriving, chunk_size=_CHUNK, **options)

    def attempt(address: str, path: str, caller: Any) -> None:
        arriving.reset()
        with _worded(url, timeouts, leave_passing=True):
            http(address, path, caller)

    pooch.get_logger().setLevel("WARNING")  # we tell of a download ourselves
    addresses = {target.name: bare(url)}
    files = pooch.create(
        *(target.parent, ""), registry={target.name: None}, urls=addresses, retry_if_failed=1
    )
    with _worded(url, timeouts):
        files.fetch(target.name, downloader=attempt)


def read(url: str, accept: str, *, timeouts: Timeouts, verify: bool | str | None) -> Any:
    """Return the whole answer of an address, as requests has it.

    Raises:
        UnavailableError: No connection, silence, or an error as the answer.
    """
    with _worded(url, timeouts):
        options = _options(url, timeouts, verify)
        response = requests.get(bare(url), headers=_PLAIN | {"Accept": accept}, **options)
        response.raise_for_status()
    return response


class _Arriving:
    """The bar that pooch fills. pooch counts whole chunks, so its sum may be above the total."""

    def __init__(self, what: str, progress: Progress) -> None:
        self._what, self._progress = what, progress
        self._done = self.total = 0

    def update(self, n: int) -> None:
        """Count bytes; at the end of an answer of unknown length pooch counts none."""
        if n:
            self._done = min(self._done + n, self.total or self._done + n)
            self._progress(self._what, self._done, self.total or None)

    def reset(self) -> None:
        """Begin again: at each try, and when pooch reports the whole."""
        self._done = 0

    def close(self) -> None:
        """Nothing is left to do."""


def _options(url: str, timeouts: Timeouts, verify: bool | str | None) -> dict[str, Any]:
    """Return what requests needs besides a bare address.

    It gives `auth` to no other host that it is redirected to. Hosts are held against this machine's
    certificates, as pip does, and against those of requests where it has none.
    """
    parts = urlsplit(url)
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    if verify is None:
        paths = ssl.get_default_verify_paths()
        folder = paths.capath if paths.capath and any(Path(paths.capath).iterdir()) else None
        verify = paths.cafile or folder or True
    return {"timeout": timeouts, "auth": auth, "verify": verify}


@contextmanager
def _worded(url: str, timeouts: Timeouts, *, leave_passing: bool = False) -> Iterator[None]:
    """Say why an address did not deliver; let pass, if asked, what a second try may mend."""
    try:
        yield
    except requests.RequestException as error:
        broken = isinstance(error, requests.exceptions.ChunkedEncodingError)
        failing = error.response is not None and error.response.status_code >= 500
        if leave_passing and (broken or failing):
            raise
        raise UnavailableError(_reason(url, error, timeouts)) from error


def _reason(url: str, error: requests.RequestException, timeouts: Timeouts) -> str:
    """Say why an address did not deliver, without the address's user and password."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{bare(url)} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return f"{bare(url)}: no connection within {timeouts.connect:g} s"
    reason: BaseException = error
    for cause in _causes(error):
        if isinstance(cause, requests.ReadTimeout | ReadTimeoutError):
            return f"{bare(url)} sent nothing for {timeouts.read:g} s"
        if isinstance(cause, IncompleteRead) and cause.expected is not None:
            total = cause.partial + cause.expected
            return f"{bare(url)} ended after {cause.partial:,} of {total:,} bytes"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            reason = cause  # the system's own words
            break
    return f"{bare(url)}: {reason}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__context__
