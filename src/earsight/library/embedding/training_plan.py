"""What an embedding is made from: which contents, with which labels, by which extractors."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from earsight.library.catalog.base import Store
from earsight.library.embedding.model_selection import LEARN_VERSION
from earsight.library.embedding.settings import Settings


@dataclass(frozen=True)
class Plan:
    """What an embedding is made from.

    Attributes:
        features: Fingerprint of the extractors.
        windows: Content of a clip → its number of windows.
        texts: The same for the texts beside clips.
        labels: Content → label.
        digest: Of all that decides the outcome.
    """

    features: str
    windows: dict[str, int]
    texts: dict[str, int]
    labels: Mapping[str, str]
    digest: str


def plan_of(store: Store, features: str, settings: Settings, labels: Mapping[str, str]) -> Plan:
    """Return what an embedding of the clips as they were read would be made from."""
    contents = store.contents(features)
    read = {name: content.windows for name, content in contents.items() if content.windows}
    windows, texts = (
        {file.content: read[file.content] for file in files if file.content in read}
        for files in store.clips_and_texts()
    )
    facts = [features, settings.learn, LEARN_VERSION, [(c, labels.get(c)) for c in sorted(windows)]]
    facts += [sorted(texts)]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return Plan(features, windows, texts, labels, digest)
