"""Networks whose real weights can't be had here: small ones of the same make, from a seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from _weights import sha
from earsight.weights.catalogue import CATALOGUE
from earsight.weights.entries import Download, Member, Weights

WIDTHS = (
    4,
    6,
    8,
    8,
    10,
    12,
)  # of VGGish's convolutions; the real ones: 64, 128, 256, 256, 512, 512
DENSE = (32, 24, 128)  # 4096, 4096, 128
NOWHERE = "http://127.0.0.1:9/"
CONVOLUTIONS = (0, 3, 6, 8, 11, 13)  # their numbers among features.N


def vggish_state(
    seed: int = 0, widths: tuple[int, ...] = WIDTHS, dense: tuple[int, ...] = DENSE
) -> dict[str, torch.Tensor]:
    """A state dict under VGGish's own keys, scaled so that no layer dies out."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    n_in = 1
    for i, n_out in zip(CONVOLUTIONS, widths, strict=True):
        weight = torch.randn(n_out, n_in, 3, 3, generator=draw) / (3 * n_in**0.5)
        state |= {f"features.{i}.weight": weight}
        state |= {f"features.{i}.bias": 0.1 * torch.randn(n_out, generator=draw)}
        n_in = n_out
    n_in *= 24
    for i, n_out in zip((0, 2, 4), dense, strict=True):
        weight = torch.randn(n_out, n_in, generator=draw) / n_in**0.5
        state |= {f"embeddings.{i}.weight": weight}
        state |= {f"embeddings.{i}.bias": 0.1 * torch.randn(n_out, generator=draw)}
        n_in = n_out
    return state


def vggish_entry(blob: bytes, url: str) -> Weights:
    """A catalogue's entry whose one source is a file with these bytes."""
    member = Member(name="vggish.pth", sha256=sha(blob), size=len(blob), url=url)
    source = Download(key="seeded", members=(member,), size=len(blob), licence="none")
    return Weights(name="vggish", used_by="vggish", licence="none", about="", sources=(source,))


@contextmanager
def seeded_vggish(folder: Path) -> Iterator[Path]:
    """Let the catalogue know the seeded VGGish alone, in a cache folder of its own, and no address.

    What the user's own cache holds as VGGish is neither used nor touched.
    """
    given = folder / "given"
    given.mkdir(exist_ok=True)
    torch.save(vggish_state(), given / "vggish.pth")
    with pytest.MonkeyPatch.context() as patch:
        entry = vggish_entry((given / "vggish.pth").read_bytes(), NOWHERE)
        patch.setitem(CATALOGUE, "vggish", entry)  # type: ignore[index]
        (pca,) = CATALOGUE["vggish_pca"].sources
        unreachable = replace(pca, members=(replace(pca.members[0], url=NOWHERE),))
        entry = replace(CATALOGUE["vggish_pca"], sources=(unreachable,))
        patch.setitem(CATALOGUE, "vggish_pca", entry)  # type: ignore[index]
        patch.setenv("EARSIGHT_HOME", str(folder / "home"))
        patch.setenv("EARSIGHT_WEIGHTS", str(given))
        yield folder
