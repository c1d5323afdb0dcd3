"""Fixtures that several files of tests share."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from _browser import asked_with, browser, page  # noqa: F401 - fixtures
from _clips import make_clip
from _folders import ODD, fill
from _milvus import milvus, own_milvus  # noqa: F401 - fixtures
from _needs import left_out, mark
from _received import precious  # noqa: F401 - a fixture
from _s3 import s3, s3_over_all_tests  # noqa: F401 - fixtures
from earsight.library.indexing.pipeline import index

# `python -m pytest` puts the project's folder on the path, `pytest` does not. Without it a class of
# a test's own never gets into another process by chance; such work lies in `_work`.
ROOT = Path(__file__).parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the import of files that `-m "not slow"` and its like leave out as a whole."""
    return left_out(collection_path, config.getoption("markexpr")) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they use, so that `make test-fast` can leave the slow ones out."""
    mark(items)


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever tests let this machine remember is not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EARSIGHT_CONFIG", str(tmp_path_factory.mktemp("configuration")))
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with most of what people have, indexed once."""
    folder = tmp_path_factory.mktemp("made") / "my clips"
    fill(folder, ["red/a.mp4", "red/b.mp4", "blue/c.mp4", f"blue/{ODD}"])
    shutil.copy(folder / "red/a.mp4", folder / "blue/a copy.mp4")
    make_clip(folder / "silent.mp4", audio=False)
    make_clip(folder / "sound.wav")
    make_clip(folder / "short.mp4", 0.2)
    (folder / "text.mp4").write_text("This is no film.")
    (folder / "._a.mp4").write_bytes(b"a Mac left this")
    (folder / "notes.txt").write_text("not a clip")
    index(folder)
    return folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; it also shows that a library can be copied."""
    return Path(shutil.copytree(made, tmp_path / "my clips"))
