"""`earsight status`, `forget`, `export` and `doctor`."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import busy, out, plural, printable, progress, say, short, size, warn
from earsight.cli._trust import TrustOption, consent
from earsight.cli.library import Json, LibraryOption

if TYPE_CHECKING:
    from earsight.library.indexing.forget import Forgotten
    from earsight.library.reports.doctor import Finding
    from earsight.library.reports.status import LibraryStatus, Pending

_NAMED = 5  # files named of each kind
_CLASSES = 20  # classes named


def status(library: LibraryOption = Path(), as_json: Json = False) -> None:
    """Show what a library holds, what made it, how large it is, and whether it is up to date.

    The folder is looked through, no clip is decoded.
    """
    from earsight.library.reports.status import library_status

    found = library_status(library)
    if as_json:
        paths = {"library": str(found.library), "clips": str(found.clips)}
        out(json.dumps(asdict(found) | paths, default=str))
        return
    _line("folder", short(str(found.clips)))
    _line("clips", f"{found.n_clips}, {_span(found.seconds)} in all")
    for modality, count in found.has.items():
        _line("", f"{count} with {_PERCEIVED.get(modality, modality)}")
    if copies := found.n_clips - found.n_contents:
        _line("", f"{copies} {'is a copy' if copies == 1 else 'are copies'} of others")
    if found.labels:
        _line("labels", f"{plural(len(found.labels), 'class', 'classes')}")
        _line("", _counted(found.labels))
    if found.space is not None:
        _line("embedding", f"{found.space}, made {found.made}; {found.n_vectors} vectors")
        _line("why", found.why)
        _line("features", found.read_by)
    if found.index != "embedded":
        _line("index", found.index_trouble or found.index)
    parts = ", ".join(f"{_KEPT.get(name, name)} {size(n)}" for name, n in found.bytes.items())
    _line("on disk", f"{size(sum(found.bytes.values()))} in {short(str(found.library))}")
    _line("", parts)
    if found.forgotten:
        _line("forgotten", _some(found.forgotten))
    _line("trouble", plural(len(found.trouble), "clip") if found.trouble else "none")
    for path, state, why in found.trouble:
        out(f"  {state}: {printable(path)}{f' ({printable(why)})' if why else ''}")
    for one in found.asks_for:
        _line("asks for", f"{one} (not agreed; index will ask)")
    for one in found.agreed:
        _line("agreed", one)
    _line("up to date", _up_to_date(found))


_PERCEIVED = {"audio": "sound", "visual": "sight"}
_KEPT = {"clips": "lists"}  # what is kept about them: the clips themselves are not in a library


def _line(name: str, text: str) -> None:
    out(f"{name + ':' if name else '':<12}{text}")


def _span(seconds: float) -> str:
    """Return seconds in words.

    >>> _span(75.4), _span(7500)
    ('1 min 15 s', '2 h 5 min')
    """
    minutes = int(seconds) // 60
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s"


def _counted(counts: dict[str, int]) -> str:
    shown = [f"{printable(name)} {n}" for name, n in list(counts.items())[:_CLASSES]]
    return ", ".join(shown) + (
        f" and {len(counts) - _CLASSES} more" if len(counts) > _CLASSES else ""
    )


def _some(paths: list[str]) -> str:
    shown = ", ".join(printable(path) for path in paths[:_NAMED])
    return shown + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")


def _up_to_date(found: "LibraryStatus") -> str:
    if found.indexing is not None:
        return f"being written now, by process {found.indexing}"
    if found.pending is None:
        if found.clips == found.library:
            return f"unknown, as the folder of its clips is. Say so once: {found.index_command}"
        return f"unknown: {found.clips} cannot be read. Is its disk there?"
    if found.pending.nothing:
        return "yes"
    return f"no: {_pending(found.pending)}. Run: {found.index_command}"


def _pending(pending: "Pending") -> str:
    kinds = {"new": pending.new, "changed": pending.changed, "gone": pending.gone}
    parts = [f"{len(paths)} {kind} ({_some(paths)})" for kind, paths in kinds.items() if paths]
    if pending.retimed:
        n = len(pending.retimed)
        parts.append(
            f"{n} of the same size {'has' if n == 1 else 'have'} another time, which index "
            "will look into"
        )
    if pending.unfinished:
        parts.append("the active embedding is not made of what is in it now")
    return "; ".join(parts)


def forget(
    clips: Annotated[
        list[str] | None, typer.Argument(help="Clips, relative to their folder or as seen here.")
    ] = None,
    *,
    library: LibraryOption = Path(),
    undo: Annotated[
        bool, typer.Option("--undo", help="Let these clips come back at the next index.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List what was forgotten.")] = False,
    as_json: Json = False,
) -> None:
    """Take clips out of the library; their files stay where they are.

    The content of a clip is forgotten, so its copies leave too, and neither a move nor a new name
    brings it back; --undo does. To leave out a folder or a name, use: index --exclude.
    """
    from earsight.library.indexing.forget import forget_clips, list_forgotten, undo_forget

    if bool(clips) == listed or (undo and not clips):
        raise typer.BadParameter("give clips, or --list alone; --undo needs clips.")
    if listed:
        paths = list_forgotten(library)
        if as_json:
            out(json.dumps({"forgotten": paths}))
        else:
            for path in paths:
                out(printable(path))
        return
    done = (undo_forget if undo else forget_clips)(library, clips or [])
    if as_json:
        out(json.dumps(asdict(done)))
    _told(done, undo)


def _told(done: "Forgotten", undo: bool) -> None:
    copies = f" ({plural(done.copies, 'copy', 'copies')} among them)" if done.copies else ""
    for path in done.paths:
        say(f"  {printable(path)}")
    if undo:
        say(f"{plural(len(done.paths), 'clip')}{copies} will come back at the next index.")
    else:
        say(
            f"{plural(len(done.paths), 'clip')}{copies} forgotten, {done.n_clips} left. What was "
            "read of them is removed from disk by the next index; the files are untouched."
        )


def export(
    file: Annotated[Path, typer.Argument(help="A .parquet or .npz file.")],
    *,
    library: LibraryOption = Path(),
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace the file if it is there.")
    ] = False,
    trust: TrustOption = False,
    as_json: Json = False,
) -> None:
    """Write clips and vectors into one file, for other programs.

    A row is one window of one clip in one modality: id, path, label, content, modality, window,
    start, end, vector (of unit length, so that a dot product is the score).
    """
    from earsight.library.reports.export import export_library

    consent(library, trust)
    with progress() as shown:
        done = export_library(library, file, force=force, progress=shown)
    if as_json:
        out(json.dumps(asdict(done), default=str))
    rows = f"{plural(done.n_rows, 'row')} of {plural(done.n_clips, 'clip')}"
    say(f"{done.file}: {rows}, {done.dim} wide ({done.space}), {size(done.bytes)}.")


def doctor(
    library: Annotated[
        Path | None,
        typer.Option("--library", "-l", help="Check this library too, all of it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check weights, decoder, disk and a library, and say what to do; exit code 1 if one is broken.

    Every file of weights and every table is read to its end. Nothing is changed or downloaded.
    """
    findings = []
    for finding in _checks(library):
        findings.append(finding)
        if not as_json:
            _finding(finding)
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        out(json.dumps({"broken": broken, "findings": [asdict(one) for one in findings]}))
    if broken:
        warn(f"{broken} of {len(findings)} checks found something broken.")
        raise typer.Exit(1)
    say(f"{plural(len(findings), 'check')}, nothing broken.")


def _finding(finding: "Finding") -> None:
    mark = {"fine": "ok", "warning": "look", "broken": "BROKEN"}[finding.state]
    out(f"{mark:<7}{finding.check}: {printable(finding.found)}")
    if finding.todo:
        out(f"       → {printable(finding.todo)}")


def _checks(library: Path | None) -> "Iterator[Finding]":
    from earsight.library.embedding.extraction import Sources
    from earsight.library.reports import doctor
    from earsight.paths import home
    from earsight.storage import parse_location

    yield doctor.check_versions()
    with busy("Importing the packages"):
        packages = doctor.check_packages()
    yield from packages
    with busy("Reading every file of weights"):
        weights = list(_check_weights())
    yield from weights
    if all(finding.state == "fine" for finding in weights):
        from earsight.demo.clip import film

        with (
            busy("Drawing a clip and reading it"),
            tempfile.TemporaryDirectory(prefix="earsight-doctor-") as folder,
        ):
            clip = Path(folder, "drawn.mp4")
            film(clip, "siren", seed=0, index=0)
            read = doctor.check_reading(clip, Sources())
        yield read
    yield doctor.check_room(home(), "room for weights")
    yield doctor.check_room(Path(tempfile.gettempdir()), "room for temporary files")
    if library is not None:
        location = parse_location(library)
        if isinstance(location, Path):
            yield doctor.check_room(location, "room for the library")
        with busy("Reading every table of the library"):
            found = doctor.check_library(library)
        yield from found


def _check_weights() -> "Iterator[Finding]":
    from earsight.library.reports.doctor import Finding
    from earsight.weights import Store
    from earsight.weights.audit import listing, verify

    store = Store()
    wrong: dict[str, list[str]] = {}
    for found in verify(store):
        if not found.right:
            wrong.setdefault(found.name, []).append(found.path.name)
    for row in listing(store):
        name, what = row["name"], f"weights {row['name']}"
        if name in wrong:
            files = ", ".join(wrong[name])
            todo = f"Fetch them again: earsight weights pull {name}"
            yield Finding(what, "broken", f"Not what they must be, or gone: {files}.", todo)
        elif row["here"]:
            yield Finding(what, "fine", f"Here and right, from {row['source']}")
        elif row["default"]:
            todo = f"Fetch them: earsight weights pull {name}"
            yield Finding(what, "warning", "Not on this machine yet.", todo)
