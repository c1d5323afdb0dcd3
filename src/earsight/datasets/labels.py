"""The labels of a folder of clips: its first folder level, or a CSV file."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from earsight.errors import LabelError
from earsight.paths import escaped
from earsight.untrusted import memory_limit, read_whole, reason_of

_MEMORY = 32  # bytes of memory that a byte of a label file takes while it is read


def folder_labels(paths: Iterable[str]) -> dict[str, str] | None:
    """Label clips by the first folder of their path, where folders make classes.

    They do when at least two of them hold two clips or more. A clip that lies in no folder has no
    label.

    Args:
        paths: Relative to the clips folder, with "/" between the parts.

    Returns:
        Path → label, or None where folders make no classes.

    >>> folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/x/c.mp4", "cat/d.mp4", "e.mp4"])
    {'dog/a.mp4': 'dog', 'dog/b.mp4': 'dog', 'cat/x/c.mp4': 'cat', 'cat/d.mp4': 'cat'}
    >>> folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/c.mp4"]) is None
    True
    """
    labels = _first_folders(paths)
    return labels if len(_large(labels)) >= 2 else None


def why_no_folder_labels(paths: Collection[str]) -> str:
    """Say why folders leave clips without a label; nothing where all have one.

    >>> why_no_folder_labels(["a.mp4", "b.mp4"])
    'No classes: every clip lies in the folder itself, and classes are the folders in it.'
    >>> why_no_folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/c.mp4"])
    'No classes: two folders with two clips each are needed; here: 1, of 2 in all.'
    >>> why_no_folder_labels(["dog/a.mp4", "dog/b.mp4", "cat/c.mp4", "cat/d.mp4", "e.mp4"])
    'Without a class: 1 of 5 clips, which lie in no folder.'
    """
    labels = _first_folders(paths)
    if not labels:
        return (
            "No classes: every clip lies in the folder itself, and classes are the folders in it."
        )
    folders, large = set(labels.values()), _large(labels)
    if len(large) < 2:
        return (
            "No classes: two folders with two clips each are needed; here: "
            f"{len(large)}, of {len(folders)} in all."
        )
    bare = len(paths) - len(labels)
    return f"Without a class: {bare} of {len(paths)} clips, which lie in no folder." if bare else ""


def _first_folders(paths: Iterable[str]) -> dict[str, str]:
    parts = {path: PurePosixPath(path).parts for path in paths}
    return {path: part[0] for path, part in parts.items() if len(part) > 1}


def _large(labels: Mapping[str, str]) -> list[str]:
    """Return the folders of two clips or more."""
    return [label for label, count in Counter(labels.values()).items() if count >= 2]


def read_label_csv(path: str | Path) -> dict[str, str]:
    """Read the columns `path` and `label` of a CSV file; other columns are not looked at.

    Paths are relative to the clips folder, written as `search` prints them: bytes outside UTF-8
    as %XX. Where the file holds such bytes themselves they are turned into that form.

    Returns:
        Path → label, in the file's order.

    Raises:
        LabelError: The file or a column is missing, a row lacks a value, or a path comes twice;
            the line is named. Or it is no file, or larger than a 32nd of EARSIGHT_MAX_BYTES (128
            MiB). No word of a file without the two columns is quoted: a library may name any file.
    """
    path = Path(path)
    try:
        data = read_whole(path, memory_limit() // _MEMORY)
    except (OSError, ValueError) as error:
        raise LabelError(f"The label file {path} cannot be read: {reason_of(error)}.") from error
    if b"\0" in data:
        raise LabelError(f"{path} holds NUL bytes, so it is no CSV file in UTF-8. Save it as one.")
    text = escaped(data.decode("utf-8-sig", "surrogateescape"))
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        named = rows.fieldnames or ()
        if not {"path", "label"} <= set(named):
            raise LabelError(
                f"{path} must start with a line that names the columns path and label, "
                f"with a comma between; line 1 has {len(named)} columns, "
                f"{len({'path', 'label'} & set(named))} of them with these names."
            )
        return _read_rows(path, rows)
    except csv.Error as error:
        raise LabelError(f"{path}, line {rows.line_num}: not a CSV file ({error}).") from error


def _read_rows(path: Path, rows: "csv.DictReader[str]") -> dict[str, str]:
    labels: dict[str, str] = {}
    for row in rows:
        clip, label = row["path"], (row["label"] or "").strip()
        if not clip or not label:
            lacking = " and ".join(["path"] * (not clip) + ["label"] * (not label))
            raise LabelError(
                f"{path}, line {rows.line_num}: a row needs a path and a label; this one lacks "
                f"its {lacking}. Leave out the rows of clips without a label."
            )
        clip = str(PurePosixPath(clip))
        if clip in labels:
            raise LabelError(f"{path}, line {rows.line_num}: its path comes a second time.")
        labels[clip] = label
    return labels
