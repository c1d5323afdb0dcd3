"""What a comparison's SOURCE means: a public data set, drawn data, or a feature file."""

from dataclasses import dataclass
from pathlib import Path

from earsight.datasets import ave, digits, mfeat, synthetic, vegas, wikipedia
from earsight.discovery import parse_spec
from earsight.errors import InputError
from earsight.features import PairedFeatures, read_features

_READERS = {"wikipedia": wikipedia, "vegas": vegas, "ave": ave, "mfeat": mfeat}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Data with the name they go by.

    Attributes:
        name: "wikipedia", "vegas", "ave", "mfeat", "digits", "synthetic", or a file's name.
        asked: As it was asked for.
        data: The rows.
    """

    name: str
    asked: str
    data: PairedFeatures


def open_source(asked: str) -> Source:
    """Read what was asked for: `wikipedia:DIR` and its like, `digits`, `synthetic[:n=…]`, a file.

    Raises:
        InputError: No such form.
        FeatureFileError: The files are missing, damaged or of another form.

    >>> open_source("synthetic:n=50,classes=2").data.views["audio"].shape
    (50, 128)
    """
    name, colon, rest = asked.partition(":")
    if name == "synthetic":
        return Source(name=name, asked=asked, data=_synthetic(asked))
    if asked == "digits":
        return Source(name=name, asked=asked, data=digits())
    if colon and name in _READERS:
        return Source(name=name, asked=asked, data=_READERS[name](Path(rest)))
    path = Path(asked)
    if not path.is_file():
        if path.suffix.lower() in (".h5", ".hdf5", ".npz"):
            raise InputError(f"There is no file {asked}.")
        forms = ", ".join(f"{reader}:DIR" for reader in _READERS)
        raise InputError(
            f"SOURCE must be a feature file, a folder of clips, {forms}, digits or synthetic; "
            f"{asked!r} is none of them."
        )
    return Source(name=path.stem, asked=asked, data=read_features(path))


def _synthetic(asked: str) -> PairedFeatures:
    _, parameters = parse_spec(asked)
    wrong = set(parameters) - {"n", "classes", "seed"}
    try:
        numbers = {key: int(value) for key, value in parameters.items()}
    except ValueError:
        wrong = set(parameters)
    if wrong:
        raise InputError(
            f"synthetic takes n, classes and seed, whole numbers; got {asked.partition(':')[2]!r}."
        )
    return synthetic(**numbers)  # type: ignore[arg-type]
