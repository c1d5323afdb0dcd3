"""What a library remembers from one `index` to the next."""

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from earsight.discovery import make, parse_spec
from earsight.errors import InputError, UnknownNameError
from earsight.library.catalog.open import open_library
from earsight.library.catalog.records import BadRowError, checked_settings, damaged
from earsight.library.catalog.sqlite import Catalog
from earsight.library.catalog.trust import Request, Trust, label_requests, requests_of
from earsight.library.embedding.extraction import EARS, EYES, Sources
from earsight.storage import Location
from earsight.vectors import EMBEDDED, check_address

PRESETS = {
    "small": ("yamnet", "efficientnet"),  # works anywhere; the default
    "paper": ("vggish", "inception"),  # what the paper found best of its four
    # The best of what was compared: 25 real clips, on which it was ahead of SoundNet and the
    # Inception of 2015. VGGish, I3D and the foundation models were not among them.
    "best": ("yamnet", "efficientnet"),
}
"""Names for pairs of extractors, audio and visual. A name always means the same pair."""

_NO_FILE = ("folders", "none")


@dataclass(frozen=True)
class Settings:
    """The choices of a library; what is not given again stays as it was.

    Attributes:
        audio: Extractor of the sound features that are learned from; "none": sound is not read.
        visual: The same for sight.
        ears: Which extractor names what is heard, for the zero-shot space.
        eyes: Which extractor names what is seen.
        labels: "folders", "none", or the absolute path of a CSV file.
        learn: "auto", "never", or a method such as "cca:n_components=5".
        exclude: Patterns of files and folders that are left out.
        index: Where the vectors that are searched are kept: "embedded", in the library's folder,
            or on a server: "milvus://host:port".
    """

    audio: str = "yamnet"
    visual: str = "efficientnet"
    ears: str = EARS
    eyes: str = EYES
    labels: str = "folders"
    learn: str = "auto"
    exclude: tuple[str, ...] = ()
    index: str = EMBEDDED

    @property
    def sources(self) -> Sources:
        """The extractors."""
        return Sources(self.audio, self.visual, self.ears, self.eyes)

    def changed(self, changes: dict[str, Any]) -> "Settings":
        """Return these settings with some changed, all of them checked.

        Args:
            changes: Fields by name; or "features", a preset, which stands for audio and visual.

        Raises:
            InputError: There is no such setting, preset, extractor, method or index; or a preset
                comes with an extractor of its own.
            WeightsError: An extractor that must see its weights to be made cannot have them.
        """
        changes = _with_preset(changes)
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise InputError(f"There is no setting {name!r}. Known: {', '.join(known)}.")
        settings = replace(self, **changes)
        if settings.labels not in _NO_FILE:
            settings = replace(settings, labels=str(Path(settings.labels).absolute()))
        settings = replace(settings, index=check_address(settings.index))
        try:
            checked_settings(asdict(settings))  # what could not be read again is not remembered
        except BadRowError as error:
            raise InputError(f"It cannot be remembered: {error}.") from error
        settings.sources.extractors()
        if settings.learn != "never":
            model = make("methods", *parse_spec(settings.learn))
            if getattr(model, "pooling", "mean") != "mean":
                raise InputError(
                    "A library learns from single vectors, as each second and each query is one; "
                    f'{settings.learn!r} reads sequences. Use pooling="mean" here, or '
                    "`earsight extract` and `earsight train`."
                )
        return settings

    @classmethod
    def of(cls, catalog: Catalog) -> "Settings":
        """Return the settings that a library was last indexed with, whoever made it.

        Raises:
            LibraryError: It has settings that this Earsight does not know.
        """
        kept = catalog.settings
        strange = sorted(kept.keys() - {one.name for one in fields(cls)})
        if strange:
            raise damaged(catalog.folder, f"there is no setting {strange[0]!r}")
        labels = kept.get("labels", cls.labels)
        if labels not in _NO_FILE and catalog.knows_root:  # relative: it came with the clips
            kept["labels"] = os.path.normpath(catalog.root / labels)
        return cls(**kept | {"exclude": tuple(kept.get("exclude", ()))})

    @classmethod
    def agreed(
        cls, catalog: Catalog, changes: dict[str, Any], *, agree: bool = False
    ) -> "Settings":
        """Return what a library was last indexed with, changed by what its user gives now.

        What is given is the user's word, and is remembered as that on this machine.

        Args:
            catalog: The catalog of the library.
            changes: As `changed` takes them.
            agree: The user agrees to whatever else the library asks for.

        Raises:
            NotTrustedError: The library asks for something outside of itself.
            InputError, WeightsError: As `changed`.
        """
        before, given = cls.of(catalog), _with_preset(changes)
        own = {name: one for name, one in asdict(before).items() if name not in given}
        asked = _requests(catalog, own)
        if agree:
            catalog.trust.allow(asked)
        catalog.trust.check(asked, _how_to_do_without(catalog, own))
        after = before.changed(given)
        catalog.trust.allow(_requests(catalog, {name: getattr(after, name) for name in given}))
        return after

    def keep(self, catalog: Catalog) -> None:
        """Remember these settings."""
        kept = asdict(self)
        if self.labels not in _NO_FILE and Path(self.labels).is_relative_to(catalog.root):
            kept["labels"] = os.path.relpath(self.labels, catalog.root)
        catalog.keep_settings(kept)


def _how_to_do_without(catalog: Catalog, own: dict[str, Any]) -> str:
    """Say by which options the settings that ask for something are taken back."""
    asking = [name for name, one in own.items() if _requests(catalog, {name: one})]
    options = " ".join(f"--{name} {getattr(Settings, name)}" for name in asking)
    return f"To do without: {catalog.index_command} {options}"


def _with_preset(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes with a preset written out."""
    if "features" not in changes:
        return changes
    preset = changes["features"]
    for modality in ("audio", "visual"):
        if modality in changes:
            raise InputError(
                f"--features {preset} names both extractors, and --{modality} "
                f"{changes[modality]} one of them again. Give the preset, or --audio and --visual."
            )
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    audio, visual = PRESETS[preset]
    others = {name: value for name, value in changes.items() if name != "features"}
    return {**others, "audio": audio, "visual": visual}


def _requests(catalog: Catalog, settings: dict[str, Any]) -> list[Request]:
    """Return what settings ask for, with the file of labels if it lies outside of the clips."""
    found, labels = requests_of(settings), settings.get("labels", _NO_FILE[0])
    if labels not in _NO_FILE:
        found += label_requests(labels, catalog.root if catalog.knows_root else None)
    return found


def open_requests(library: str | Location) -> tuple[Trust, list[Request]]:
    """Return the record of the user's agreements, and the requests that are not in it.

    Args:
        library: The clips folder, or the library folder itself.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    with open_library(library) as catalog:
        return catalog.trust, requests_not_agreed(catalog)


def trust_library(library: str | Location) -> list[Request]:
    """Agree to what a library asks for outside of itself, now and later on this machine.

    Args:
        library: The clips folder, or the library folder itself.

    Returns:
        What was agreed to: each has a `kind` ("server", "file", "folder", "model" or "plugin") and
        `what` it names.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    trust, asked = open_requests(library)
    trust.allow(asked)
    return asked


def requests_not_agreed(catalog: Catalog) -> list[Request]:
    """Return what an open library asks for and the user of this machine has not agreed to."""
    asked = set(_requests(catalog, asdict(Settings.of(catalog))))
    current = catalog.current()
    if current is not None:
        asked |= set(requests_of({**current.sources, "index": current.index}))
    return sorted(asked - catalog.trust.allowed)
