"""Is the sound of a clip off, and by how much? And a copy in which it is not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earsight.alignment.offset import ESTIMATES, Offset, estimate
from earsight.errors import InputError, MediaError
from earsight.extractors import extract_all
from earsight.extractors.motion import Motion
from earsight.extractors.onsets import Onsets
from earsight.features import FeatureSequence
from earsight.media import shift_sound

MAX_SECONDS = 600.0  # of each clip: what is looked at is held in memory


@dataclass(frozen=True)
class Alignment:
    """What was found about one clip.

    Attributes:
        clip: Whose sight it is.
        sound: Whose sound it is: the clip's own, or another file's.
        offset: By how much the sound is late, how many estimates agree, or why there is no answer.
        whole: Whether all of both was looked at, not the first 600 s alone.
    """

    clip: Path
    sound: Path
    offset: Offset
    whole: bool

    @property
    def witnesses(self) -> int:
        """How many there are to agree."""
        return len(ESTIMATES)

    def as_json(self) -> dict[str, Any]:
        """Return it for a machine; the offset is `null` where there is no answer."""
        offset = self.offset
        return {
            "clip": str(self.clip),
            "sound": str(self.sound),
            "offset_seconds": offset.seconds,
            "best_seconds": offset.best,
            "agreement": offset.agreement,
            "witnesses": self.witnesses,
            "why": offset.why,
            "whole": self.whole,
        }


def align(clip: Path, sound: Path | None = None, *, reach: float = 2.5) -> Alignment:
    """Estimate by how much the sound comes after its sight, in the first 600 s.

    Args:
        clip: A video.
        sound: A file whose sound is set against the clip's sight; default: the clip's own.
        reach: The largest offset looked for, in seconds.

    Raises:
        MediaError: The clip has no sight, or the sound's file no sound.
        InputError: `reach` is not above 0.
    """
    heard_in = sound or clip
    if heard_in == clip:
        found = _features(clip, (Onsets(), Motion()))
    else:
        found = _features(clip, (Motion(),)) | _features(heard_in, (Onsets(),))
    for key, path, what in (("motion", clip, "sight"), ("onsets", heard_in, "sound")):
        if key not in found:
            raise MediaError(f"{path} has no {what}, so there is nothing to align.")
    whole = all(not len(one) or one.times[-1] < MAX_SECONDS for one in found.values())
    first = {key: one.between(0.0, MAX_SECONDS) for key, one in found.items()}
    offset = estimate(first["onsets"], first["motion"], reach=reach)
    return Alignment(clip, heard_in, offset, whole)


def repair(found: Alignment, out: Path, *, force: bool = False) -> None:
    """Write a copy of the clip with its sound where it belongs; nothing is encoded again.

    Raises:
        InputError: There is no offset to repair, or `out` cannot be written (see `shift_sound`).
        MediaError: The streams cannot be copied.
    """
    if found.offset.seconds is None:
        raise InputError(f"There is no offset to repair in {found.clip}: {found.offset.why}")
    shift_sound(found.clip, out, -found.offset.seconds, sound=found.sound, force=force)


def _features(path: Path, kinds: tuple[Onsets | Motion, ...]) -> dict[str, FeatureSequence]:
    found, report = extract_all(path, kinds)
    if not found:
        raise MediaError(f"{path} could not be read. {report.message}".rstrip())
    return found
