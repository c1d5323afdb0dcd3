"""A library of as many clips as wanted, with made-up vectors and no files; for benchmarks."""

import hashlib
from pathlib import Path

import numpy as np

from earsight.features import FeatureSequence
from earsight.library.catalog.base import now
from earsight.library.catalog.location import FOLDER
from earsight.library.catalog.records import MODALITIES, Content, Embedding
from earsight.library.catalog.sqlite import Catalog
from earsight.library.embedding.cross_validation import fit_zero_shot
from earsight.library.embedding.feature_tables import FeatureTables, embedding_table
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_files import save_model
from earsight.library.embedding.settings import Settings
from earsight.vectors import Row, StoredSequence


def synthetic_library(clips: Path, n: int, seed: int = 0, *, seconds: int = 0) -> None:
    """Write a library of `n` clips of ten classes into the folder `clips`, which must be empty.

    The zero-shot space is the real one, so that typed words are embedded as ever. With `seconds`,
    each clip has so many, and its sight has a step for each of them.
    """
    rng = np.random.default_rng(seed)
    settings = Settings()
    features = settings.sources.fingerprint
    folder = clips / FOLDER
    folder.mkdir(parents=True)
    space = JointSpace(fit_zero_shot({}, settings.sources))
    kept = save_model(folder, 1, space)
    contents = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    with Catalog.made(folder) as store:
        report = {"again": False, "message": "", "rows": dict.fromkeys(MODALITIES, 1)}
        read = [
            Content(c, "ok", float(seconds or 5 + i % 20), report, 1)
            for i, c in enumerate(contents)
        ]
        paths = [f"class {i % 10}/clip {i:05d}.mp4".encode() for i in range(n)]
        files = [(path, 1, 1, c) for path, c in zip(paths, contents, strict=True)]
        store.put_clips(files, features, read)
        store.set_labels({path: path.split(b"/")[0].decode() for path in paths})
        settings.keep(store)
        table = embedding_table(folder, "embedding-1")
        width = space.embed("text", {"words.text": rng.normal(size=(1, 384))}).shape[1]
        table.create(width)
        centres = rng.normal(size=(10, width))
        for modality in MODALITIES:
            x = centres[np.arange(n) % 10] + rng.normal(size=(n, width))
            rows = [Row(f"{c}:000000:{modality}", c, modality, 0, 0.0, 10.0) for c in contents]
            table.upsert(rows, x / np.linalg.norm(x, axis=1, keepdims=True))
        table.optimize()
        if seconds:
            _write_steps(
                FeatureTables(folder, features, settings.sources.roles), contents, seconds, rng
            )
        info = {
            "space": space.name,
            "decision": {},
            "sources": {"audio": settings.audio, "visual": settings.visual},
            **kept,
        }
        store.switch(Embedding(1, features, "synthetic", 2 * n, now(), info))


def _write_steps(
    tables: FeatureTables, contents: list[str], seconds: int, rng: np.random.Generator
) -> None:
    """Write sequences of the words that are seen, some contents at a time."""
    tables.folder.mkdir(parents=True, exist_ok=True)
    tables.sequences.create()
    times, together = np.arange(seconds) + 0.5, max(1, 30_000 // seconds)
    for first in range(0, len(contents), together):
        some = contents[first : first + together]
        values = rng.normal(size=(len(some), seconds, 384)).astype(np.float32)
        steps = [FeatureSequence(x, times) for x in values]
        stored = zip(some, steps, strict=True)
        tables.sequences.upsert(
            [StoredSequence(f"{c}:words.visual", c, "words.visual", x) for c, x in stored]
        )
    tables.sequences.optimize()
