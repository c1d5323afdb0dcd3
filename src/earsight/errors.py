"""The exceptions of Earsight. Each says what, which rule, what was given, and what to do.

EarsightError                   everything below; the command line prints it and exits with 1
├── InputError                  an argument breaks a rule (also a ValueError)
│   ├── LabelError              labels are missing, of the wrong length, or of one class
│   ├── UnknownNameError        no method, extractor or weights of that name
│   └── UnknownPairError        figures of two modalities that were not compared (a KeyError)
├── NotFittedError              `transform` or `save` before `fit`
├── NotAvailableError           a figure was asked for that the data cannot give
├── TrainingError               a network's loss or weights are not finite, or exploded
├── MediaError                  a file cannot be decoded, or is refused
├── FeatureFileError            a feature file lacks a field or breaks the format
├── ModelFileError              a saved model is damaged, foreign or newer
├── WeightsError                pretrained weights cannot be had, or fail their checksum
├── BusyError                   other work of the kind did not end in time
├── EngineError                 a cluster cannot be reached or used, or work on it was lost
├── StorageError                an object on S3 cannot be reached, read or written
└── LibraryError                a library is missing, locked, newer, read-only or out of disk
    └── NoRowsError             no clip can be in a feature file
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class EarsightError(Exception):
    """Base of every error that Earsight raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross from one process to another, whatever the constructor takes."""
        return _again, (type(self), self.args, vars(self))


class InputError(EarsightError, ValueError):
    """An argument breaks a rule."""


class LabelError(InputError):
    """Labels are missing, of the wrong length, or cannot serve the purpose."""


class UnknownNameError(InputError):
    """No method, extractor or set of weights has that name."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        close = get_close_matches(name, known, n=1) if isinstance(name, str) else []
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"There is no {kind} {name!r}.{hint} Known: {', '.join(known)}.")


class UnknownPairError(InputError, KeyError):
    """Figures were asked for of two modalities that were not compared."""

    __str__ = EarsightError.__str__  # a KeyError's would put the message in quotes


class NotFittedError(EarsightError):
    """A model was used before it was fitted."""


class NotAvailableError(EarsightError):
    """A figure was asked for that the data given cannot yield."""


class TrainingError(EarsightError):
    """The loss or the weights of a network are no longer finite numbers, or exploded."""


class MediaError(EarsightError):
    """A file cannot be decoded, or is refused."""


class FeatureFileError(EarsightError):
    """A feature file lacks a field or breaks the format."""


class ModelFileError(EarsightError):
    """A saved model is damaged, foreign, or written by a newer Earsight."""


class WeightsError(EarsightError):
    """Pretrained weights cannot be had, or are not what they should be."""


class BusyError(EarsightError):
    """Work was not begun, because other work of its kind did not end in time; try again."""


class EngineError(EarsightError):
    """A cluster cannot be reached or used, or work that it did was lost for good."""


class StorageError(EarsightError):
    """An object on S3 cannot be reached, read or written."""


class LibraryError(EarsightError):
    """A library is missing, locked, damaged, newer, read-only, or its disk is full."""


class NoRowsError(LibraryError):
    """There is no clip, or none that can be in a feature file."""


def _again(kind: type[EarsightError], args: tuple[Any, ...], state: dict[str, Any]) -> object:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error
