"""Programs that the server starts: waited for when they end, and told no secret."""

import os
from pathlib import Path

import psutil
import pytest

from _folders import until
from earsight.web import desktop


def until_gone(before: set[int]) -> None:
    """Wait until every child that was started since is gone; one that has ended is a zombie."""
    until(lambda: {child.pid for child in psutil.Process().children()} <= before)


@pytest.fixture
def before() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def program(path: Path, does: str) -> None:
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o700)


def test_a_file_manager_leaves_no_zombie(
    tmp_path: Path, before: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "xdg-open", f'echo "$1" >> {tmp_path}/opened')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for _ in range(3):
        desktop.show_folder(tmp_path / "clips" / "a.mp4")
    until_gone(before)
    assert (tmp_path / "opened").read_text() == f"{tmp_path}/clips\n" * 3


@pytest.mark.parametrize("secret", [False, True])
def test_a_browser_leaves_no_zombie_and_no_file(
    tmp_path: Path, before: set[int], monkeypatch: pytest.MonkeyPatch, secret: bool
) -> None:
    program(tmp_path / "browser", f'echo "$1" > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/got')
    monkeypatch.setenv("BROWSER", str(tmp_path / "browser"))
    with desktop.browser_open("http://127.0.0.1:1/?token=secret", secret=secret):
        until((tmp_path / "got").exists)
        until_gone(before)
    got = (tmp_path / "got").read_text().strip()
    assert ("secret" in got) is not secret
    assert not Path(got.removeprefix("file://")).exists()


def test_what_a_browser_has_read_is_removed_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop, "_READING", 0.2)
    monkeypatch.setattr(desktop, "_browse", lambda _: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with desktop.browser_open("http://127.0.0.1:1/?token=secret", secret=True):
        (page,) = tmp_path.rglob("open.html")
        until(lambda: not page.exists())
