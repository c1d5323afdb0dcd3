"""Remove what a library no longer needs, and make its tables agree with its catalog.

A kill before this costs disk alone, until the next `index`.
"""

import re

from earsight.errors import LibraryError
from earsight.library.catalog.records import Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.feature_tables import FeatureTables
from earsight.library.embedding.model_files import remove_models
from earsight.library.embedding.vector_location import drop_left
from earsight.library.progress import Progress
from earsight.storage import Location
from earsight.vectors import LanceIndex, table_names

_EMBEDDING = re.compile("embedding-([0-9]+)(?:-[0-9a-f]{8})?")  # with a mark: of an older Earsight


def repair_tables(catalog: Catalog, tables: FeatureTables, progress: Progress) -> bool:
    """Make the tables agree with the catalog; return whether clips must be read again."""
    contents = catalog.contents(tables.features)
    unread = {file.content for file in catalog.files()} - contents.keys()
    unused = set(catalog.unused_contents(tables.features))
    expected = {c: found.report["rows"] for c, found in contents.items() if c not in unused}
    try:
        lost, unknown = tables.faults(expected)
    except LibraryError as error:
        progress.say(f"The clips are read again, because their tables are damaged: {error}")
        catalog.drop_contents(tables.features, list(contents))
        tables.drop()
        return True
    catalog.drop_contents(tables.features, [*lost, *unused])
    tables.delete([*lost, *unknown])
    if lost:
        progress.say(f"Vectors of {len(lost)} contents are missing; they are read again.")
    return bool(lost or unread)


def collect_garbage(catalog: Catalog, active: Embedding, progress: Progress) -> None:
    """Remove models, vectors and features that the active embedding does not need."""
    catalog.drop_other_features(active.features)
    drop_embeddings(catalog.folder, active)
    folder = catalog.folder / "vectors"
    for name in table_names(folder):
        if not _EMBEDDING.fullmatch(name) and not name.endswith(f"-{active.features}"):
            LanceIndex(folder, name).drop()
    for left in drop_left(catalog, active):
        progress.say(left)
    remove_models(catalog.folder, active.id)


def drop_embeddings(library: Location, active: Embedding) -> None:
    """Remove the tables of vectors of all embeddings but the active one."""
    folder = library / "vectors"
    for name in table_names(folder):
        if _EMBEDDING.fullmatch(name) and name != active.table:
            LanceIndex(folder, name).drop()
