"""Is a file what the catalogue says? And what people are told when it is not."""

from collections.abc import Sequence
from pathlib import Path

from earsight.weights.cache import git_blob, sha256
from earsight.weights.entries import (
    Download,
    Installed,
    Member,
    Source,
    SourceArchive,
    UnavailableError,
    Weights,
    Wheel,
)


def check(member: Member, path: Path, pinned: str | None = None) -> str:
    """Return the SHA-256 of a file, held against the pin or against what is known of it.

    Raises:
        UnavailableError: It is another file, or gone.
    """
    if not path.is_file():
        raise UnavailableError(f"{path} is missing")
    found = sha256(path)
    expected = pinned or member.sha256
    if not found.startswith(expected):
        raise UnavailableError(
            f"{member.name} has the wrong checksum: expected {expected}, got {found}"
        )
    if not expected and member.git_blob and (blob := git_blob(path)) != member.git_blob:
        raise UnavailableError(
            f"{member.name} has the wrong git blob id: expected {member.git_blob}, got {blob}"
        )
    return found


def file_names(entry: Weights) -> str:
    """List the files that serve, source by source: "a.onnx + a.data, or b.pth"."""
    sets = dict.fromkeys(" + ".join(m.name for m in source.members) for source in entry.sources)
    return ", or ".join(sets)


def untrusted(entry: Weights, source: Source) -> str:
    """Say why a source is left alone until it is asked for."""
    known = [f"the SHA-256 beginning {m.sha256}" for m in source.members if m.sha256]
    known += [f"the git blob id {m.git_blob}" for m in source.members if m.git_blob]
    return (
        f"no full checksum is known ({' and '.join(known) or 'nothing at all'}), so it is used "
        f"only when asked: earsight weights pull {entry.name} --source {source.key} "
        "--trust-first-use"
    )


def nowhere(entry: Weights, tried: Sequence[str]) -> str:
    """Say that no source delivered: what was tried and why not, the size, and the way out."""
    size = next((source.size for source in entry.sources if source.size), None)
    lines = "\n".join(f"  - {reason}" for reason in tried)
    places = "\n".join(f"  {address}" for s in entry.sources for address in addresses(s))
    return (
        f"The weights {entry.name} ({megabytes(size)}) could not be had. Tried:\n{lines}\n"
        f"If you have the file: earsight weights add {entry.name} FILE\n"
        f"where FILE is {file_names(entry)}, or the package around it, known to be at:\n{places}"
    )


def cannot_serve(entry: Weights, files: Sequence[Path], refused: Sequence[str]) -> str:
    """Say that files the user gave are not the ones, source by source."""
    lines = "\n".join(f"  - {reason}" for reason in refused)
    given = ", ".join(map(str, files))
    return f"{given} cannot serve as {entry.name} ({file_names(entry)}):\n{lines}"


def megabytes(size: int | None) -> str:
    """Return a number of bytes in words.

    >>> megabytes(17_364_911), megabytes(73_020), megabytes(None)
    ('17.4 MB', '0.1 MB', 'size unknown')
    """
    return "size unknown" if size is None else f"{size / 1e6:.1f} MB"


def addresses(source: Source) -> list[str]:
    """Return where a source is, for people."""
    match source:
        case Download():
            return [member.url for member in source.members]
        case Wheel():
            return [f"wheel {source.project}=={source.version} of the package index"]
        case SourceArchive():
            return [f"source archive {source.project}=={source.version} of the package index"]
        case Installed():
            return [f"installed package {source.distribution}"]
    return [source.key]
