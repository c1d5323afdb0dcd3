"""Features of one folder of clips by several extractors, a file each."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from earsight.errors import LibraryError
from earsight.extraction.extract import extract
from earsight.features import PairedFeatures, read_features
from earsight.library.catalog.folder_handle import open_directory
from earsight.library.catalog.location import FOLDER, write_error_message
from earsight.library.embedding.extraction import extractor_for
from earsight.library.progress import Progress, Silent


@dataclass
class Several:
    """What several extractors made of a folder.

    Attributes:
        found: Modality → extractor as asked for → its features.
        missing: (modality, extractor, why) of those that cannot run here.
        left_out: (path, why) of whole clips that some features have no row of.
        trouble: (path, status, message) of clips that are not whole.
    """

    found: dict[str, dict[str, PairedFeatures]] = field(default_factory=dict)
    missing: list[tuple[str, str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    trouble: list[tuple[str, str, str]] = field(default_factory=list)


def extract_each(
    clips: Path,
    wanted: Mapping[str, Sequence[str]],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Several:
    """Bring the features of every extractor up to date that can run here; nothing is downloaded.

    They are kept in `CLIPS/.earsight/features`, a file for each extractor and fingerprint.

    Args:
        clips: The folder; its first level labels the clips.
        wanted: Modality → extractors, such as {"audio": ["soundnet:layer=conv5", "vggish"]}.
        workers, progress: As for `extract`.

    Raises:
        InputError: An extractor that is not there, or of another modality.
        LibraryError: As for `extract`; or the features cannot be kept in the folder, or a link lies
            there.
    """
    if not Path(clips).is_dir():
        raise LibraryError(f"{clips} is not a folder; features are compared on a folder of clips.")
    folder = Path(clips) / FOLDER / "features"
    result = Several({modality: {} for modality in wanted})
    left_out: dict[tuple[str, str], None] = {}
    trouble: dict[tuple[str, str, str], None] = {}
    for modality, specs in wanted.items():
        for spec in specs:
            extractor = extractor_for(modality, spec)
            if not extractor.at_hand:
                why = "its weights are not on this machine"
                result.missing.append((modality, spec, why))
                continue
            _make(folder)
            output = folder / f"{extractor.key()}-{extractor.fingerprint[:16]}.h5"
            (progress or Silent()).say(f"{spec}: {output.name}")
            made = extract(clips, output, {modality: spec}, workers=workers, progress=progress)
            left_out |= dict.fromkeys(made.left_out)
            trouble |= dict.fromkeys(made.trouble)
            result.found[modality][spec] = read_features(output)
    result.left_out, result.trouble = list(left_out), list(trouble)
    return result


def _make(folder: Path) -> None:
    """Make the folder of features in a library; all of it may have come with the clips.

    Raises:
        LibraryError: It, the library or what lies in it is a link, or it cannot be written.
    """
    try:
        with suppress(FileExistsError):  # that it is opened says what it is
            folder.parent.mkdir()
        with (
            open_directory(folder.parent) as library,
            library.below(folder.name, make=True) as features,
        ):
            features.refuse_links()
    except OSError as error:
        raise LibraryError(write_error_message(folder, error)) from error
