"""Passes over training rows for the closed forms: rows come in parts, whose sums are merged.

A part is what `fit_batches` takes: a function that returns a fresh iterator over batches. Parts
may be read anywhere and more than once, because nothing is kept between two readings.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np

from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows

Part = Callable[[], Iterable[tuple[Any, ...]]]  # returns a fresh iterator over batches
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]  # as the builtin `map`

SomeSums = TypeVar("SomeSums", bound="Sums")


@dataclass
class Tally:
    """Counts the rows of a pass, and holds every batch to the form of the first one.

    Attributes:
        dims: modality → width, in the order of the first batch.
        eps: modality → relative precision of its rows.
        rows, classes, groups: modality → number of rows, rows of each class, groups seen.
        form: What all batches have in common, for errors; None before the first.
    """

    dims: dict[str, int] = field(default_factory=dict)
    eps: dict[str, float] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[Any]] = field(default_factory=dict)
    groups: dict[str, set[Any]] = field(default_factory=dict)
    form: dict[str, Any] | None = None

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Count rows that are all there."""
        tally = cls()
        tally.take(rows)
        return tally

    def take(self, rows: Rows) -> None:
        """Count one batch.

        Raises:
            InputError: It has another form than those before.
        """
        self._check_form(_form(rows))
        counted: dict[int, Counter[Any]] = {}  # paired rows share one array of labels
        for name, x in rows.views.items():
            self.dims[name] = x.shape[1]
            self.eps[name] = float(np.finfo(x.dtype).eps)
            self.rows[name] += len(x)
            if rows.labels is not None:
                own = rows.labels[name]
                if id(own) not in counted:
                    counted[id(own)] = Counter(own.tolist())
                self.classes.setdefault(name, Counter()).update(counted[id(own)])
            if rows.groups is not None:
                self.groups.setdefault(name, set()).update(rows.groups[name].tolist())

    def merge(self, other: "Tally") -> None:
        """Add the counts of another pass.

        Raises:
            InputError: They are of another form.
        """
        if other.form is None:
            return
        self._check_form(other.form)
        for name, n in other.rows.items():
            self.dims[name], self.eps[name] = other.dims[name], other.eps[name]
            self.rows[name] += n
            self.classes.setdefault(name, Counter()).update(other.classes.get(name, ()))
            self.groups.setdefault(name, set()).update(other.groups.get(name, ()))

    def check_rows(self) -> None:
        """Check that every modality has rows.

        Raises:
            InputError: One has none.
        """
        for name in self.dims:
            if not self.rows[name]:
                raise InputError(f"Batches must have rows of each modality; {name!r} has none.")

    def units(self) -> tuple[int, int]:
        """Return how many independent units each view has: groups where given, else rows."""
        first, second = (len(self.groups.get(name, ())) or self.rows[name] for name in self.dims)
        return first, second

    def _check_form(self, form: dict[str, Any]) -> None:
        self.form = self.form or form
        if form != self.form:
            raise InputError(f"Batches must be alike; the first has {self.form}, another {form}.")


def _form(rows: Rows) -> dict[str, Any]:
    return {
        "views": {name: (x.shape[1], str(x.dtype)) for name, x in rows.views.items()},
        "labels": rows.labels is not None,
        "groups": rows.groups is not None,
        "paired": rows.paired,
    }


class Sums:
    """What a pass over some of the rows leaves behind: the counts, and what a method adds up.

    It can be pickled. Sums of several parts are merged in any grouping.
    """

    def __init__(self) -> None:
        self.tally = Tally()

    def take(self, rows: Rows) -> None:
        """Add one batch."""
        self.tally.take(rows)

    def merge(self, other: Self) -> None:
        """Add the sums of another part."""
        self.tally.merge(other.tally)


def _checked(model: JointEmbedding, part: Part) -> Iterator[Rows]:
    """Read a part that a user gave, batch by batch."""
    for batch in batches_of(part):
        if not isinstance(batch, tuple) or len(batch) not in (2, 3):
            raise InputError(
                "A batch must be a tuple (views, labels) or (views, labels, groups); "
                f"got {type(batch).__name__}."
            )
        min_rows = 0 if isinstance(batch[1], Mapping) else 1  # unpaired: one modality may be over
        views, labels, groups = batch if len(batch) == 3 else (*batch, None)
        rows = model._check_rows(views, labels, groups, min_rows=min_rows)
        del batch, views
        yield rows
        del rows  # before the next one is waited for: one at a time


def _read(start: Callable[[], SomeSums], part: Callable[[], Iterator[Rows]]) -> SomeSums:
    """Read one part into new sums; it can be done again."""
    sums = start()
    for rows in part():
        sums.take(rows)
        del rows  # before the next batch is waited for
    return sums


class Passes:
    """Starts passes over the parts and merges the sums that they leave."""

    def __init__(self, parts: Sequence[Callable[[], Iterator[Rows]]], run: Run = map) -> None:
        self._parts, self._run = parts, run
        self._is_first = True

    @classmethod
    def of(cls, model: JointEmbedding, parts: Sequence[Part], run: Run = map) -> "Passes":
        """Return the passes over what a user gave."""
        return cls([partial(_checked, model, part) for part in parts], run)

    def gather(self, start: Callable[[], SomeSums]) -> SomeSums:
        """Pass over all rows once and return their sums.

        Raises:
            InputError: No batch, batches that differ, or no row of a modality.
        """
        merged = start()
        for sums in self._run(partial(_read, start), self._parts):
            merged.merge(sums)
        if merged.tally.form is None:
            raise InputError(_NO_BATCH if self._is_first else _EXHAUSTED)
        merged.tally.check_rows()
        self._is_first = False
        return merged


_NO_BATCH = "`make_batches` must yield at least one batch; got none."
_EXHAUSTED = (
    "`make_batches` must return a fresh iterator each time it is called; another pass found it "
    "exhausted."
)


def batches_of(make_batches: Callable[[], Iterable[tuple[Any, ...]]]) -> Iterator[Any]:
    """Start a pass over the batches that `fit_batches` was given.

    Raises:
        InputError: `make_batches` is not a function, or does not return an iterator.
    """
    if not callable(make_batches):
        raise InputError(
            "`make_batches` must be a function that returns a fresh iterator of "
            f"(views, labels); got {type(make_batches).__name__}."
        )
    batches = make_batches()
    if not isinstance(batches, Iterable):
        raise InputError(
            "`make_batches` must return an iterator of (views, labels), or be a generator that "
            f"yields them; it returned {batches!r}."
        )
    return iter(batches)
