"""A folder of drawn clips: what is there stays, what is missing or half done is drawn."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from earsight import engine
from earsight.demo.clip import film
from earsight.demo.scene import Parameters
from earsight.demo.scenes import LABELS
from earsight.errors import InputError

DRAWING = 1  # raised whenever the same seed would give another picture or sound
MANIFEST = "earsight-demo.json"
POOL_FROM = 8  # clips; fewer are drawn sooner than worker processes have started


@dataclass(frozen=True)
class DrawnClip:
    """One clip of the demo.

    Attributes:
        path: The mp4 file.
        label: Its class, which is also the folder it lies in.
        duration: Seconds.
        events: Seconds from the start of the clip, rising: each moment at which what is seen
            causes what is heard. Exact to a sample of the sound; frame i shows the scene as it is
            at i/25 s, so an event becomes visible between the frame before it and the one after.
        parameters: What was drawn by lot: the kind of thing, its pitch, the camera, the room.
    """

    path: Path
    label: str
    duration: float
    events: tuple[float, ...]
    parameters: Parameters


@dataclass(frozen=True)
class _Task:
    folder: Path
    label: str
    seed: int
    index: int

    @property
    def clip(self) -> Path:
        return self.folder / self.label / f"{self.label}_{self.index:02d}.mp4"

    @property
    def record(self) -> Path:
        return self.clip.with_suffix(".events.json")


def draw(
    folder: Path,
    *,
    per_class: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[DrawnClip]:
    """Draw and sound labelled clips: `folder/<class>/<class>_00.mp4`, H.264 and AAC, 3 to 4 s.

    Beside each clip lies `<class>_00.events.json` with its label, events and parameters. Clips
    that are complete are kept; nothing that this did not draw is touched. On two or more
    processors the work goes to two worker processes, so a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        folder: New, empty, or drawn by an earlier call with the same seed.
        per_class: Clips for each of the ten classes, 1 to 100. Where an earlier call drew more,
            those beyond this number stay in the folder, and `index` would find them: draw into
            a new folder to have fewer.
        seed: Another one gives other clips; the same one the same.
        progress: Called as `progress(done, total)` after each clip.

    Returns:
        One entry for each clip asked for, by class and number.

    Raises:
        InputError: A number out of range; `folder` is a file, holds something else, or holds a
            demo with another seed or of another version.
    """
    folder = Path(folder)
    if not 1 <= per_class <= 100:
        raise InputError(f"`per_class` must be 1 to 100 clips; got {per_class}.")
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more; got {seed}.")
    _claim(folder, seed)
    tasks = [_Task(folder, label, seed, i) for label in LABELS for i in range(per_class)]
    clips = {task: clip for task in tasks if (clip := _read(task)) is not None}
    missing = [task for task in tasks if task not in clips]
    for task in _drawn(missing):
        clip = _read(task)
        if clip is None:
            raise InputError(f"{task.clip} vanished while the demo was drawn; draw it again.")
        clips[task] = clip
        if progress is not None:
            progress(len(clips), len(tasks))
    return [clips[task] for task in tasks]


def _claim(folder: Path, seed: int) -> None:
    """Make sure that the folder is ours to draw in, and leave the mark that says so."""
    mark = {"drawn_by": "earsight demo", "drawing": DRAWING, "seed": seed}
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"The demo is drawn into a folder; {folder} is a file. Name another place."
        )
    manifest = folder / MANIFEST
    if manifest.exists():
        try:
            found = json.loads(manifest.read_text())
        except ValueError:
            found = None
        if found != mark:
            raise InputError(
                f"{folder} must hold a demo of seed {seed} (drawing {DRAWING}); its {MANIFEST} "
                f"says {found}. Name another folder, or delete that one."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(
            f"The demo is drawn into a new or empty folder; {folder} holds other things. "
            "Name another folder."
        )
    manifest.write_text(json.dumps(mark, indent=2) + "\n")


def _read(task: _Task) -> DrawnClip | None:
    """Return a clip that is complete; the record is written last, so it vouches for the clip."""
    try:
        record = json.loads(task.record.read_text())
        if record["bytes"] != task.clip.stat().st_size:
            return None
        return DrawnClip(
            task.clip, task.label, record["duration"], tuple(record["events"]), record["parameters"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drawn(tasks: list[_Task]) -> Iterator[_Task]:
    """Draw the clips, here or in two worker processes, and yield each once it is complete."""
    workers = min(2, os.cpu_count() or 1)
    if workers == 1 or len(tasks) < POOL_FROM:
        for task in tasks:
            _film(task)
            yield task
        return
    for task, drawn in engine.run(_film, tasks, workers=workers):
        if isinstance(drawn, engine.WorkerDied):
            raise drawn
        yield task


def _film(task: _Task) -> None:
    """Write the clip, then its record, each under a hidden temporary name first."""
    task.clip.parent.mkdir(exist_ok=True)
    draft = task.clip.with_name(f".{task.clip.name}.part")
    shot = film(draft, task.label, task.seed, task.index)
    size = draft.stat().st_size
    task.record.unlink(missing_ok=True)  # an old record must not vouch for the new clip
    draft.replace(task.clip)
    record = {
        "label": task.label, "seed": task.seed, "index": task.index, "drawing": DRAWING,
        "duration": shot.scene.duration, "events": shot.scene.events,
        "parameters": shot.parameters, "bytes": size,
    }  # fmt: skip
    draft.write_text(json.dumps(record, indent=2) + "\n")
    draft.replace(task.record)
