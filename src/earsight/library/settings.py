"""What a library remembers from one `index` to the next."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from earsight.discovery import make, parse_spec
from earsight.errors import InputError
from earsight.library.sources import Sources
from earsight.library.store import Store


@dataclass(frozen=True)
class Settings:
    """The choices of a library; what is not given again stays as it was.

    Attributes:
        audio: Extractor of the sound features that are learned from.
        visual: The same for sight.
        labels: "folders", "none", or the absolute path of a CSV file.
        learn: "auto", "never", or a method such as "cca:n_components=5".
        exclude: Patterns of files and folders that are left out.
    """

    audio: str = "yamnet"
    visual: str = "efficientnet"
    labels: str = "folders"
    learn: str = "auto"
    exclude: tuple[str, ...] = ()

    @property
    def sources(self) -> Sources:
        """The extractors."""
        return Sources(self.audio, self.visual)

    def changed(self, changes: dict[str, Any]) -> "Settings":
        """Return these settings with some changed, all of them checked.

        Raises:
            InputError: There is no such setting, extractor or method.
        """
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise InputError(f"There is no setting {name!r}. Known: {', '.join(known)}.")
        settings = replace(self, **changes)
        settings.sources.extractors()
        if settings.learn != "never":
            make("methods", *parse_spec(settings.learn))
        return settings

    @classmethod
    def of(cls, store: Store) -> "Settings":
        """Return the settings that a library was last indexed with."""
        kept: dict[str, Any] = store.get("settings", {})
        return cls(**kept | {"exclude": tuple(kept.get("exclude", ()))})

    def keep(self, store: Store) -> None:
        """Remember these settings."""
        store.set("settings", asdict(self))
