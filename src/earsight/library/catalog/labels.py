"""The labels of a library's clips: from the first folder level, from a CSV file, or none."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earsight.datasets import folder_labels, read_label_csv, why_no_folder_labels
from earsight.errors import LabelError
from earsight.library.catalog.records import LONGEST, Clip, is_text
from earsight.library.catalog.sqlite import Catalog
from earsight.library.progress import Progress
from earsight.paths import as_text

_SHOWN = 12  # classes named in the line that tells of them


@dataclass(frozen=True)
class Labelling:
    """The labels in force.

    Attributes:
        by_content: Content → label; contents that files give two labels are left out.
        counts: Class → number of its readable clips, largest first.
        missing: Why clips or whole classes are left out; empty where none is.
    """

    by_content: Mapping[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    missing: str = ""


def label_clips(
    catalog: Catalog, setting: str, progress: Progress, readable: Collection[str]
) -> Labelling:
    """Give each clip its label and say where the labels came from.

    Args:
        catalog: The catalog of the library.
        setting: "folders", "none", or the path of a CSV file.
        progress: Receives what is done.
        readable: The contents that could be read; only their files are counted.
    """
    clips = [file for file in catalog.files() if not is_text(file.path)]
    by_path: Mapping[str, str] = {}
    paths = [as_text(clip.path) for clip in clips]
    missing = ""
    if setting == "folders":
        by_path, missing = folder_labels(paths) or {}, why_no_folder_labels(paths)
        missing += " To name them in a file: --labels FILE.csv." if missing else ""
        origin = "the first folder level; to ignore them: --labels none"
    elif setting != "none":
        by_path = _from_csv(Path(setting), clips, progress)
        origin = setting
        if len(by_path) < len(paths):
            bare = len(paths) - len(by_path)
            missing = (
                f"Without a class: {bare} of {len(paths)} clips, which {setting} does not name."
            )
    for label in by_path.values():
        if len(label) > LONGEST:
            raise LabelError(f"A label may have {LONGEST} characters; one of {setting} has more.")
    changed = catalog.set_labels({clip.path: by_path.get(as_text(clip.path)) for clip in clips})
    if not by_path:
        return Labelling(labels_by_content(catalog.clips()), missing=missing)
    found = {as_text(clip.path) for clip in clips if clip.content in readable}
    counts = dict(Counter(by_path[path] for path in by_path if path in found).most_common())
    if changed and counts:
        shown = _listed([f"{label} {count}" for label, count in counts.items()])
        progress.say(f"Labels: {shown} (from {origin}).")
    if unread := sorted(set(by_path.values()) - counts.keys()):
        missing = f"No class, because no clip of it could be read: {_listed(unread)}. {missing}"
    return Labelling(_by_content(catalog.clips(), progress), counts, missing.strip())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def check_labels(setting: str, paths: Iterable[bytes]) -> None:
    """Check that a CSV file of labels can be read and names some of the files.

    Raises:
        LabelError: It cannot, or names none.
    """
    if setting in ("folders", "none"):
        return
    otherwise = "To label otherwise: --labels folders, none, or another file."
    try:
        listed = read_label_csv(setting)
    except LabelError as error:
        raise LabelError(f"{error} {otherwise}") from error
    here = {as_text(path) for path in paths}
    if not here & listed.keys():
        raise LabelError(
            f"{setting} labels none of the {len(here)} clips; it names {len(listed)} paths, which "
            f"must be relative to the clips folder. {otherwise}"
        )


def labels_by_content(clips: Iterable[Clip]) -> dict[str, str]:
    """Return content → label, without the contents that clips give two labels."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        if clip.label:
            found.setdefault(clip.content, set()).add(clip.label)
    return {content: min(labels) for content, labels in found.items() if len(labels) == 1}


def _from_csv(path: Path, clips: list[Clip], progress: Progress) -> dict[str, str]:
    listed = read_label_csv(path)
    here = {as_text(clip.path) for clip in clips}
    known = {name: label for name, label in listed.items() if name in here}
    if len(known) < len(listed):
        stray = next(name for name in listed if name not in here)
        progress.say(f"{len(listed) - len(known)} rows of {path} name no clip, such as {stray!r}.")
    return known


def _by_content(clips: list[Clip], progress: Progress) -> dict[str, str]:
    agreed = labels_by_content(clips)
    torn = {clip.content for clip in clips if clip.label} - agreed.keys()
    if torn:
        progress.say(
            f"{len(torn)} contents have copies with different labels. They can be searched, but "
            "have no label in learning and evaluation."
        )
    return agreed
