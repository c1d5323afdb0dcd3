"""Folders of tiny clips that all differ, libraries of them on S3, what those hold; for tests."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from _folders import QUICK
from earsight.library.catalog.open import open_library
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.feature_tables import FeatureTables, embedding_table
from earsight.library.embedding.settings import Settings
from earsight.storage import Remote

LIBRARY = "s3://clips/library"


def sounds(folder: Path, *tones: int) -> Path:
    """Write a WAV of a third of a second for each tone, named by it."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = np.arange(5333) / 16000
    for tone in tones:
        samples = (8000 * np.sin(2 * np.pi * tone * seconds)).astype("<i2")
        with wave.open(str(folder / f"{tone}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.tobytes())
    return folder


def killed(folder: Path, n_clips: int) -> "subprocess.Popen[bytes]":
    """Index a folder in a process that kills itself once so many clips are acknowledged."""
    script, pipe = Path(__file__).with_name("_killed.py"), subprocess.PIPE
    command = [sys.executable, str(script), str(folder), LIBRARY]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    process.stdin.write(f"clips {n_clips}\n".encode())
    process.stdin.flush()
    return process


def told(process: "subprocess.Popen[bytes]") -> set[str]:
    """Return the paths that a process said were acknowledged, once it has ended."""
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, -9), err.decode()
    return {line.decode() for line in out.split(b"\n")[:-1]}


def opened(library: str = LIBRARY) -> Catalog:
    return open_library(Remote.parse(library))


def believed(library: str = LIBRARY) -> set[str]:
    """Return the acknowledged files, having checked that all that was read of them is there."""
    store = opened(library)
    files = store.files()
    names = [Path(store.name_of(file)).name for file in files]
    assert len({file.id for file in files}) == len(files), "a number was given twice"
    sources = Settings(audio=QUICK["audio"], visual=QUICK["visual"]).sources
    tables = FeatureTables(store.folder, sources.fingerprint, sources.roles)
    contents = store.contents(tables.features)
    assert {file.content for file in files} <= contents.keys()
    lost, _ = tables.faults({c: found.report["rows"] for c, found in contents.items()})
    assert lost == []
    for role in tables.roles:
        keys = [row.key for row in tables._table(role).rows()]
        assert len(set(keys)) == len(keys), "a row is there twice"
    return set(names)


def answering(library: str = LIBRARY) -> set[str]:
    """Return the files that the embedding which answers holds a row of."""
    store = opened(library)
    current = store.current()
    assert current is not None
    rows = embedding_table(store.folder, current.table).rows()
    assert len({row.key for row in rows}) == len(rows) == current.n_rows
    have = {row.content for row in rows}
    return {Path(store.name_of(clip)).name for clip in store.clips() if clip.content in have}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clips are read in this process, and the cache is a folder of the test."""
    from _folders import in_this_process
    from earsight import engine
    from earsight.paths import home

    monkeypatch.setattr(engine, "run", engine.run)  # put back afterwards
    weights = home()
    monkeypatch.setenv("EARSIGHT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for one in weights.glob("*"):
        if one.name not in ("libraries", "s3"):
            (tmp_path / "home" / one.name).symlink_to(one)
    in_this_process()
