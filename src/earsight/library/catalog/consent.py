"""What a library asks for; and agreeing to it, on this machine."""

from dataclasses import asdict

from earsight.library.catalog.base import Store
from earsight.library.catalog.location import find
from earsight.library.catalog.trust import Request, Trust, requests_of
from earsight.library.embedding.settings import Settings
from earsight.storage import Place


def asked_for(library: str | Place) -> tuple[Trust, list[Request]]:
    """Return what a library asks for outside of itself and nobody on this machine has agreed to.

    And where an agreement is kept.

    Args:
        library: The clips folder, or the library folder itself.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    with Store.open(find(library)) as store:
        return store.trust, asked_of(store)


def trust_library(library: str | Place) -> list[Request]:
    """Agree to what a library asks for outside of itself, now and later on this machine.

    Args:
        library: The clips folder, or the library folder itself.

    Returns:
        What was agreed to: each has a `kind` ("server", "file", "folder", "model" or "plugin") and
        `what` it names.

    Raises:
        LibraryError: No library, or one that cannot be read.
    """
    with Store.open(find(library)) as store:
        asked = asked_of(store)
        store.trust.allow(asked)
        return asked


def asked_of(store: Store) -> list[Request]:
    """Return the same of an open library."""
    clips = store.root if store.is_fed_here else None
    asked = set(requests_of(asdict(Settings.of(store)), clips))
    current = store.current()
    if current is not None:
        asked |= set(requests_of({**current.sources, "index": current.index}, clips))
    return sorted(asked - store.trust.allowed)
