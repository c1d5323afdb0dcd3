"""What `index` does differently where others index into the same library, on S3."""

import time
from collections.abc import Collection

from earsight.errors import LibraryError
from earsight.library.catalog.base import Store
from earsight.library.catalog.records import Embedding
from earsight.library.embedding.feature_tables import Tables
from earsight.library.embedding.settings import Settings
from earsight.library.progress import Progress

GRACE = 3600.0  # seconds for which nobody must have held what is removed
_ORPHANS = "orphans"


def waits(
    store: Store, current: Embedding | None, settings: Settings, features: str, progress: Progress
) -> bool:
    """Whether what answers must stay, because other folders have not been read as it would be.

    Raises:
        LibraryError: The extractors of the library were changed during this run.
    """
    now = Settings.of(store).sources
    if now != settings.sources:
        raise LibraryError(
            f"The extractors of the library {store.folder} were changed by another machine during "
            f"this run: {now} where {settings.sources} were used. What answers was not changed. "
            f"Run again: {store.index_command}"
        )
    if current is None or current.features == features:
        return False
    read = store.contents(features)
    waiting = [file for file in store.everything() if file.content not in read]
    if waiting:
        folders = len({file.folder for file in waiting})
        progress.say(
            f"{len(waiting)} files of {folders} other folders have not been read by these "
            "extractors yet. What answers stays until each folder was indexed."
        )
    return bool(waiting)


def let_go(store: Store, tables: Tables, orphans: Collection[str]) -> None:
    """Remove contents that nobody has held for an hour, and their vectors.

    What looks unused may be in the hands of another machine: vectors are written before their
    content is acknowledged, and a known content may be met again at this moment. So each is noted
    when it is first found so, and what is removed is looked at again before its vectors go.
    """
    now = time.time()
    key = f"{_ORPHANS}:{tables.features}"
    seen: dict[str, float] = store.get(key, {})
    since = {content: seen.get(content, now) for content in sorted(orphans)}
    old = [content for content, begun in since.items() if now - begun >= GRACE]
    if old:
        facts = store.contents(tables.features)
        store.drop_contents(tables.features, old)
        held = {file.content for file in store.everything()}
        back = [facts[content] for content in old if content in held and content in facts]
        store.put_clips((), tables.features, back)
        tables.delete([content for content in old if content not in held])
    store.set(key, {content: begun for content, begun in since.items() if content not in old})
