"""`earsight extract`: extractors whose files change, and runs that meet at one lock."""

from pathlib import Path

import pytest

from _folders import fill
from earsight.errors import FeatureFileError, LibraryError, WeightsError
from earsight.extraction import reading as room
from earsight.extraction.extract import extract
from earsight.extraction.sources import Folder
from earsight.extraction.staging import Staging
from earsight.extractors import FeatureExtractor
from earsight.library.catalog import location
from earsight.library.catalog.location import locked
from earsight.library.catalog.scan import scan
from earsight.library.embedding.extraction import extractor_for

SIGHT = {"visual": "colour_edges"}


def test_a_spec_whose_file_changed_is_another_extractor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a PCA that is fitted anew under the name it had, within one process."""
    fill(tmp_path / "clips", ["a.mp4", "b.mp4"])
    output = tmp_path / "features.h5"
    extract(tmp_path / "clips", output, SIGHT, workers=1)
    before = output.read_bytes()

    def changed(modality: str, spec: str) -> FeatureExtractor:
        return extractor_for(modality, f"{spec}:fps=1")

    monkeypatch.setattr(room, "extractor_for", changed)
    with pytest.raises(FeatureFileError, match="never mixed"):
        extract(tmp_path / "clips", output, SIGHT, workers=1)
    assert output.read_bytes() == before


def test_a_worker_reads_nothing_with_other_weights_than_the_run_has(tmp_path: Path) -> None:
    fill(tmp_path / "clips", ["a.mp4"])
    (file,) = scan(tmp_path / "clips", ()).fresh
    asked = tuple(SIGHT.items())
    meant = extractor_for("visual", "colour_edges").fingerprint
    job = room._Job(Folder(tmp_path / "clips"), file, asked, ("0" * 64,))
    with pytest.raises(WeightsError, match=r"colour_edges must stay as they are .* command again"):
        room._do(job)
    record, found = room._do(room._Job(job.origin, file, asked, (meant,)))
    assert record.has == tuple(found) == ("visual",)


def test_a_lock_that_went_with_its_folder_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before removes its folder, the lock in it, while we wait for that lock."""
    parts = Staging(tmp_path / "features.h5")
    parts.folder.mkdir()
    real, tidied = location._held, []

    def held(file: object, kind: int) -> bool:
        if not tidied:
            tidied.append(True)
            parts.tidy()
        return real(file, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(location, "_held", held)
    with locked(parts.folder):
        assert (parts.folder / "lock").is_file()
        with pytest.raises(LibraryError, match="is at work on"), locked(parts.folder):
            pass


def test_only_this_files_leftovers_go(tmp_path: Path) -> None:
    """A name may hold what a pattern gives a meaning."""
    fill(tmp_path / "clips", ["a.mp4"])
    other = tmp_path / ".ab.h5.1.part"
    own = tmp_path / ".a[b].h5.1.part"
    for path in (other, own):
        path.write_bytes(b"half")
    extract(tmp_path / "clips", tmp_path / "a[b].h5", SIGHT, workers=1)
    assert other.exists() and not own.exists()
