"""Features beside clips that somebody else sent: nothing outside is written or deleted."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from _clips import make_clip
from earsight import engine
from earsight.errors import EarsightError, LibraryError
from earsight.extraction.extract import extract
from earsight.extraction.per_extractor import extract_each
from earsight.extraction.staging import Staging
from earsight.features import PairedFeatures, write_features
from earsight.library.catalog.location import FOLDER
from earsight.library.embedding.extraction import extractor_for

SOUND = {"audio": "log_mel"}
KEY = "0" * 64


@pytest.fixture(autouse=True)
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read clips here, not in workers that take long to start."""
    monkeypatch.setattr(engine, "run", lambda do, jobs, **_: ((job, do(job)) for job in jobs))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    make_clip(folder / "a.mp4")
    return folder


@pytest.fixture
def users(precious: Path) -> Path:
    """A folder of the receiver's own, with names that would be ours in another place."""
    for name in ("extractors.json", f"{KEY}.npz", f"{KEY}.1.part", "lock", "notes.npz"):
        (precious / name).write_text("mine")
    (precious / "1" / "deep" / "file.txt").unlink()
    return precious


def state(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def compared(clips: Path) -> None:
    extract_each(clips, {"audio": ["log_mel"], "visual": ["colour_edges"]}, workers=1)


def extracted(clips: Path) -> None:
    extract(clips, clips / "x.h5", SOUND, workers=1)


def parts_of(clips: Path, use: Callable[[Path], None]) -> Path:
    """Return where the parts of a run lie."""
    if use is extracted:
        return Staging(clips / "x.h5").folder
    extractor = extractor_for("audio", "log_mel")
    name = f"{extractor.key()}-{extractor.fingerprint[:16]}.h5"
    return Staging(clips / FOLDER / "features" / name).folder


@pytest.mark.parametrize("name", [FOLDER, f"{FOLDER}/features"])
@pytest.mark.parametrize("there", [True, False])
def test_a_library_or_its_features_as_a_link(
    clips: Path, users: Path, name: str, there: bool
) -> None:
    before = state(users)
    (clips / name).parent.mkdir(exist_ok=True)
    (clips / name).symlink_to(users if there else users / "not yet")
    with pytest.raises(LibraryError, match=f"{re.escape(name)}' is a link"):
        compared(clips)
    assert state(users) == before


@pytest.mark.parametrize("use", [compared, extracted])
@pytest.mark.parametrize("there", [True, False])
def test_parts_that_are_a_link(
    clips: Path, users: Path, use: Callable[[Path], None], there: bool
) -> None:
    before, parts = state(users), parts_of(clips, use)
    parts.parent.mkdir(parents=True, exist_ok=True)
    parts.symlink_to(users if there else users / "not yet")
    with pytest.raises(LibraryError, match=rf"{re.escape(parts.name)}' is a link"):
        use(clips)
    assert state(users) == before


@pytest.mark.parametrize("use", [compared, extracted])
@pytest.mark.parametrize("name", ["lock", "extractors.json", f"{KEY}.npz", f"{KEY}.1.part"])
@pytest.mark.parametrize("how", ["link", "hard link", "pipe"])
def test_a_file_among_the_parts_that_leads_elsewhere(
    clips: Path, users: Path, use: Callable[[Path], None], name: str, how: str
) -> None:
    before, parts = state(users), parts_of(clips, use)
    parts.mkdir(parents=True)
    if how == "link":
        (parts / name).symlink_to(users / "file.txt")
    elif how == "hard link":
        (parts / name).hardlink_to(users / "file.txt")
    else:
        os.mkfifo(parts / name)
    with pytest.raises(EarsightError, match=re.escape(name)) as told:
        use(clips)
    assert {"link": "is a link", "hard link": "hard links", "pipe": "is a pipe"}[how] in str(
        told.value
    )
    assert state(users) == before
    assert os.path.lexists(parts / name)


def test_a_feature_file_that_is_a_link(clips: Path, users: Path) -> None:
    features = clips / FOLDER / "features"
    features.mkdir(parents=True)
    (features / "other.h5").symlink_to(users / "file.txt")
    with pytest.raises(LibraryError, match=r"other\.h5' is a link"):
        compared(clips)
    assert not (features / parts_of(clips, compared).name).exists(), "before any work"


def test_only_what_has_a_name_of_ours_is_removed(clips: Path) -> None:
    parts = parts_of(clips, extracted)
    (parts / "folder").mkdir(parents=True)
    for name in ("notes.txt", "notes.npz", "notes.part", f".tmp-{KEY[:16]}", f"{KEY}.npz"):
        (parts / name).write_text("kept")
    (clips / ".x.h5.my own.part").write_text("kept")
    extracted(clips)
    assert sorted(path.name for path in parts.iterdir()) == [
        *("folder", "notes.npz", "notes.part", "notes.txt"),
    ]
    assert (clips / ".x.h5.my own.part").read_text() == "kept"


def test_a_draft_of_the_output_is_not_written_through_a_link(clips: Path, users: Path) -> None:
    before = state(users)
    (clips / f".x.h5.{os.getpid()}.part").symlink_to(users / "file.txt")
    write_features(clips / "x.h5", PairedFeatures({"audio": np.ones((2, 3))}))
    assert state(users) == before and not (clips / "x.h5").is_symlink()


def test_the_command_names_the_link(clips: Path, users: Path) -> None:
    before, parts = state(users), parts_of(clips, compared)
    parts.parent.mkdir(parents=True)
    parts.symlink_to(users)
    command = ["compare", clips, "--audio", "log_mel", "--visual", "colour_edges"]
    done = subprocess.run(
        [sys.executable, "-m", "earsight", *map(str, command)], capture_output=True, timeout=300
    )
    told = re.sub(rb"\s+", b" ", done.stderr)
    assert done.returncode == 1 and b"is a link" in told and b"Traceback" not in told, told
    assert state(users) == before
