"""Programs of the person's own that are started from here: a browser, a file manager."""

import html
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earsight.web.temporary_folder import TemporaryFolder

_READING = 60.0  # seconds in which a browser has started and read what it was given
_PAGE = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">'


def launch(command: Sequence[str]) -> None:
    """Start a program and go on; when it ends, it is waited for, so that no zombie stays."""
    no = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=no, stdout=no, stderr=no, start_new_session=True)
    threading.Thread(target=process.wait, daemon=True).start()


@contextmanager
def browser_open(url: str, *, secret: bool) -> Iterator[None]:
    """Open an address in the person's browser, soon, for as long as a server runs.

    What a program is started with can be read by every user of the machine. So an address that is
    `secret` lies in a file of this user's alone, which leads there and is gone after a minute.
    """
    folder = TemporaryFolder()
    timers = [threading.Timer(0.5, _browse, [_page_to(url, folder) if secret else url])]
    timers += [threading.Timer(_READING, folder.close)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        folder.close()


def _page_to(url: str, folder: TemporaryFolder) -> str:
    page = folder.path / "open.html"
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(_PAGE.format(url=html.escape(url)))
    return page.as_uri()


def _browse(address: str) -> None:
    """Open the address in a process apart, which ends when the browser has it.

    Isolated (-I): the folder it is started in may be a received one, and hold a webbrowser.py.
    """
    launch([sys.executable, "-I", "-m", "webbrowser", address])


def show_folder(file: Path) -> None:
    """Open the folder of a file; OSError names the file manager that was looked for."""
    command = ["open", "-R", os.fspath(file)]
    if sys.platform != "darwin":
        command = ["xdg-open", os.fspath(file.parent)]
    launch(command)
