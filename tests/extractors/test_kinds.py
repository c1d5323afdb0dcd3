"""The list of extractors: every kind, whoever wrote it, once for each modality."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from earsight.extractors import FeatureExtractor
from earsight.extractors.runtime import listing


@dataclass(kw_only=True)
class Listing(FeatureExtractor):
    """A third party's kind that lists its modalities. As text, as some write all types."""

    name: ClassVar[str] = "theirs"
    dims: ClassVar[dict[str, int]] = {"embedding": 3}
    modality: "Literal['audio', 'visual']" = "audio"


@dataclass(kw_only=True)
class Open(FeatureExtractor):
    """A third party's kind that would take any word for a modality."""

    name: ClassVar[str] = "theirs"
    dims: ClassVar[dict[str, int]] = {"embedding": 3}
    modality: str = "visual"


@pytest.mark.parametrize(("kind", "served"), [(Listing, ["audio", "visual"]), (Open, ["visual"])])
def test_no_kind_is_passed_over(
    kind: type[FeatureExtractor], served: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "names", lambda floor: {"theirs": "theirs"})
    monkeypatch.setattr(listing, "load", lambda floor, name: kind)
    monkeypatch.setattr(listing, "make", lambda floor, name, parameters: kind(**parameters))
    found = listing.kinds()
    assert [(one.name, one.modality, one.dim) for one in found] == [
        ("theirs", modality, 3) for modality in served
    ]
