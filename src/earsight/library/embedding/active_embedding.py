"""The active embedding: whether it is out of date, and how a new one takes its place.

A new embedding is written whole beside the active one, and then switched to in one step.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace

from earsight.library.catalog.base import now
from earsight.library.catalog.records import MODALITIES, Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.extraction import TEXT
from earsight.library.embedding.feature_tables import FeatureTables, chunks, embedded_row
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_files import model_exists, save_model
from earsight.library.embedding.model_selection import Decision
from earsight.library.embedding.settings import Settings
from earsight.library.embedding.training_rows import TrainingPlan
from earsight.library.embedding.vector_location import new_location, table_of
from earsight.library.progress import Progress
from earsight.vectors import VectorTable


def why_outdated(
    catalog: Catalog, active: Embedding | None, plan: TrainingPlan, settings: Settings
) -> str:
    """Say why a new embedding is needed; empty where the active one is up to date."""
    if active is None:
        return "there is no embedding yet"
    if active.features != plan.features:
        return "the extractors are others"
    if active.digest != plan.digest:
        return "the clips, their labels or what is to be learned changed"
    if active.index != settings.index:
        return "its vectors belong into another index"
    if not (table_of(catalog, active).exists and model_exists(catalog.folder, active)):
        return "its files are missing"
    return ""


def write_embedding(
    catalog: Catalog,
    tables: FeatureTables,
    plan: TrainingPlan,
    settings: Settings,
    *,
    model: tuple[JointSpace, Decision],
    progress: Progress,
) -> Embedding:
    """Write the model and the vectors of a new embedding, and make it the active one.

    Args:
        catalog: The catalog of the library.
        tables: The features of its clips.
        plan: Which clips.
        settings: Where its vectors go, and its extractors.
        model: As `select_model` returns it.
        progress: Receives what happens.
    """
    space, decision = model
    number = catalog.next_embedding()
    files = save_model(catalog.folder, number, space)
    location = new_location(catalog, number, settings.index)
    table = location.open(catalog)
    n_rows = _write_vectors(tables, table, space, plan.windows | plan.texts, progress=progress)
    figures = {name: one for name, one in decision.figures.items() if math.isfinite(one)}
    info = {
        "space": space.name,
        "decision": asdict(replace(decision, figures=figures)),
        "sources": asdict(settings.sources),
        "roles": list(tables.roles),
        **location.facts(table),
        **files,
    }
    embedding = Embedding(
        id=number,
        features=plan.features,
        digest=plan.digest,
        n_rows=n_rows,
        made=now(),
        info=info,
    )
    catalog.switch(embedding)
    return embedding


def _write_vectors(
    tables: FeatureTables,
    table: VectorTable,
    space: JointSpace,
    contents: Mapping[str, int],
    *,
    progress: Progress,
) -> int:
    """Embed every row of every modality into a new table; return how many rows there are."""
    table.drop()
    n_rows = 0
    parts = [{c: contents[c] for c in some} for some in chunks(contents)]
    work = [(modality, part) for modality in (*MODALITIES, TEXT) for part in parts]
    progress.start("Embedding", len(work))
    for modality, part in work:
        for piece in tables.read(modality, part):
            vectors = space.embed(modality, piece.vectors)
            if not n_rows:
                table.create(vectors.shape[1])
            table.upsert([embedded_row(row, modality) for row in piece.rows], vectors)
            n_rows += len(piece.rows)
        progress.advance()
    if n_rows:
        table.optimize()
    progress.finish()
    return n_rows
