"""Passes over training rows for the closed forms: rows come in parts, what each leaves is merged.

A part is what `fit_batches` takes: a function that returns a fresh iterator over batches. Parts
may be read anywhere and more than once, because nothing is kept between two readings.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.covariance import BLOCK, first_shift
from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows

Part = Callable[[], Iterable[tuple[Any, ...]]]  # returns a fresh iterator over batches
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]  # as the builtin `map`
Shifts = dict[str, FloatArray] | None

SomeSums = TypeVar("SomeSums", bound="Sums")


@dataclass
class Tally:
    """Counts the rows of a pass, and holds every batch to the form of the first one.

    Attributes:
        dims: modality → width.
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

    def take(self, rows: Rows) -> None:
        """Count one batch.

        Raises:
            InputError: It has another form than those before.
        """
        self._hold_to(_form(rows))
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
        """Add the counts of the rows that follow.

        Raises:
            InputError: They are of another form.
        """
        if other.form is None:
            return
        self._hold_to(other.form)
        self.dims, self.eps = other.dims, other.eps
        self.rows.update(other.rows)
        for name, classes in other.classes.items():
            self.classes.setdefault(name, Counter()).update(classes)
        for name, groups in other.groups.items():
            self.groups.setdefault(name, set()).update(groups)

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

    def _hold_to(self, form: dict[str, Any]) -> None:
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


class Sums(ABC):
    """What a pass over some of the rows leaves behind: the counts, and what a kind adds up.

    It can be pickled. Sums of neighbouring parts are merged in the order of the rows, in any
    grouping.
    """

    def __init__(self) -> None:
        self.tally = Tally()

    def take(self, rows: Rows) -> None:
        """Add one batch."""
        self.tally.take(rows)
        self._take(rows)

    def merge(self, other: Self) -> None:
        """Add the sums of the rows that follow."""
        if self.tally.form is None:
            vars(self).update(vars(other))
        elif other.tally.form is not None:
            self.tally.merge(other.tally)
            self._merge(other)

    @abstractmethod
    def _take(self, rows: Rows) -> None:
        """Add one batch to what the kind adds up."""

    @abstractmethod
    def end(self) -> None:
        """Add what has not filled a block: no batch comes any more."""

    @abstractmethod
    def _merge(self, other: Self) -> None:
        """Add what the kind added up over the rows that follow."""


class Counts(Sums):
    """The counts alone."""

    def _take(self, rows: Rows) -> None:
        pass

    def end(self) -> None:
        """Nothing waits for a block."""

    def _merge(self, other: Self) -> None:
        pass


@dataclass(frozen=True)
class Checked:
    """A part whose batches come out checked, all modalities in one order."""

    model: JointEmbedding
    part: Part
    order: tuple[str, ...] | None = None

    def __call__(self) -> Iterator[Rows]:
        """Read the part."""
        order = self.order
        for batch in batches_of(self.part):
            views, labels, groups = _split(batch)
            if order is not None and isinstance(views, Mapping) and set(views) == set(order):
                views = {name: views[name] for name in order}
            min_rows = 0 if isinstance(labels, Mapping) else 1
            rows = self.model._check_rows(views, labels, groups, min_rows=min_rows)
            order = order or tuple(rows.views)
            yield rows
            del batch, views, rows  # before the next batch is waited for: one at a time


@dataclass(frozen=True)
class Work:
    """Reads one part into new sums; it can be pickled, and done again."""

    start: Callable[[], Sums]

    def __call__(self, part: Callable[[], Iterator[Rows]]) -> Sums:
        """Read the part."""
        sums = self.start()
        for rows in part():
            sums.take(rows)
            del rows  # before the next batch is waited for
        sums.end()
        return sums


class Passes:
    """Starts passes over the parts and merges what they leave.

    Attributes:
        shifts: modality → (d,) what sums are taken about, from the head of the rows; None where
            there is one part alone, whose sums find it themselves.
    """

    def __init__(self, parts: Sequence[Callable[[], Iterator[Rows]]], run: Run = map) -> None:
        self._parts, self._run = parts, run
        self._is_first = True
        self.shifts: Shifts = None
        if len(parts) > 1:
            self._ordered(self._head())

    @classmethod
    def of(cls, model: JointEmbedding, parts: Sequence[Part], run: Run = map) -> "Passes":
        """Return the passes over what a user gave."""
        return cls([Checked(model, part) for part in parts], run)

    def gather(self, start: Callable[[], SomeSums]) -> SomeSums:
        """Pass over all rows once and return their sums.

        Raises:
            InputError: No batch, batches that differ, or no row of a modality.
        """
        merged: SomeSums | None = None
        for sums in self._run(Work(start), self._parts):
            if merged is None:
                merged = sums
            else:
                merged.merge(sums)
        if merged is None or merged.tally.form is None:
            raise InputError(_NO_BATCH if self._is_first else _EXHAUSTED)
        merged.tally.check_rows()
        if self._is_first:
            self._ordered(tuple(merged.tally.dims))
            self._is_first = False
        return merged

    def _ordered(self, order: tuple[str, ...]) -> None:
        """Have all modalities come in the order of the first batch, in later passes too."""
        self._parts = [
            Checked(part.model, part.part, order) if isinstance(part, Checked) else part
            for part in self._parts
        ]

    def _head(self) -> tuple[str, ...]:
        """Read the first block of each modality, for its shift; return the modalities."""
        blocks: dict[str, list[FloatArray]] = {}
        counts: Counter[str] = Counter()
        tally = Tally()
        for rows in (rows for part in self._parts for rows in part()):
            tally.take(rows)  # refuses batches of several widths
            for name, x in rows.views.items():
                blocks.setdefault(name, []).append(x[: BLOCK - counts[name]])
                counts[name] += len(blocks[name][-1])
            if all(counts[name] == BLOCK for name in blocks):
                break
        self.shifts = {
            name: first_shift(np.concatenate(own)) for name, own in blocks.items() if counts[name]
        }
        return tuple(blocks)


def _split(batch: Any) -> tuple[Any, Any, Any]:
    """Read (views, labels) or (views, labels, groups)."""
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise InputError(
            "A batch must be a tuple (views, labels) or (views, labels, groups); "
            f"got {type(batch).__name__}."
        )
    views, labels, groups = batch if len(batch) == 3 else (*batch, None)
    return views, labels, groups


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
