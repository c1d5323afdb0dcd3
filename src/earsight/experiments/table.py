"""The comparison as tables: one for each direction, for the terminal or in Markdown."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from earsight.experiments.compare import Comparison
from earsight.experiments.published import Published, figures_for
from earsight.experiments.results import Result
from earsight.experiments.significance import NEAR

_KS = (1, 5, 10)


@dataclass
class Table:
    """One direction.

    Attributes:
        title: "audio → visual".
        columns: Their heads, the first for the method.
        rows: Cells as text.
        notes: Lines below it, such as the sources of published figures.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self, without: Container[str] = ()) -> str:
        """Return it in Markdown without some columns; notes are the caller's."""
        kept = [i for i, column in enumerate(self.columns) if column not in without]
        rows = [[row[i] for i in kept] for row in (self.columns, *self.rows)]
        under = _line(["---", *["---:"] * (len(kept) - 1)])
        return "\n".join([f"**{self.title}**", "", _line(rows[0]), under, *map(_line, rows[1:])])


def side_by_side(made: Sequence[Table]) -> Table:
    """Return the tables of all directions as one, with "a / b" where their cells differ."""
    rows = [
        [" / ".join(cells) if len({*cells}) > 1 else cells[0] for cells in zip(*ways, strict=True)]
        for ways in zip(*(one.rows for one in made), strict=True)
    ]
    notes = [*dict.fromkeys(note for one in made for note in one.notes)]
    return Table(" / ".join(one.title for one in made), made[0].columns, rows, notes)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def tables(comparison: Comparison) -> list[Table]:
    """Return a table for each direction: methods best first, then others' figures, then chance."""
    ranked = [result for result in comparison.ranked() if result.error is None]
    if not ranked:
        return []
    published = figures_for(comparison.name, comparison.protocol)
    return [_table(number, comparison, published) for number in range(len(ranked[0].directions))]


def _table(number: int, comparison: Comparison, published: tuple[Published, ...]) -> Table:
    ranked = [result for result in comparison.ranked() if result.error is None]
    direction = [*ranked[0].directions][number]
    first = ranked[0].directions[direction]
    labelled, paired = "map" in first, "mrr" in first
    recalls = [k for k in _KS if f"recall@{k}" in first]
    made = Table(title_of(direction), ["method"])
    if labelled:
        made.columns += ["MAP", "±", "p"] + (["published"] if published else [])
    if paired:
        made.columns += [*(f"recall@{k}" for k in recalls), f"p (@{NEAR})", "median rank"]
    made.columns.append("fit, s")
    sources: list[str] = []
    for result in ranked:
        own = result.directions[direction]
        row = [result.method]
        if labelled:
            spread = _figure(own["map_std"]) if result.fits > 1 else ""
            row += [_figure(own["map"]), spread, _p(own, "map", result)]
            if published:
                row.append(_published(result.method, number, published, sources))
        if paired:
            row += [_figure(own[f"recall@{k}"]) for k in recalls]
            row += [_p(own, f"recall@{NEAR}", result), f"{own['median_rank']:.1f}"]
        made.rows.append([*row, _seconds(result.fit_seconds)])
    for each in published:
        if each.method is None:
            cells = {0: each.title, 4: f"{each.values[number]:g} {_mark(each, sources)}"}
            made.rows.append([cells.get(i, "") for i in range(len(made.columns))])
    made.rows.append(_chance(first, made.columns))
    made.notes = _notes(comparison, number, published, sources)
    return made


def title_of(direction: str) -> str:
    """Return a direction for people.

    >>> title_of("audio->visual")
    'audio → visual'
    """
    return direction.replace("->", " → ")


def _figure(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.4f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _p(own: dict[str, Any], name: str, result: Result) -> str:
    """Return a p-value as text; "–" for the reference itself."""
    against = own.get("against", {})
    if against.get("method") == result.method:
        return "–"
    p = against.get(f"p_{name}")
    if p is None:
        return ""
    return "< .001" if p < 0.001 else "> .999" if p > 0.999 else f"{p:.3f}".lstrip("0")


def _published(
    method: str, number: int, published: tuple[Published, ...], sources: list[str]
) -> str:
    for each in published:
        if each.method == method.partition(":")[0] and each.main:
            return f"{each.values[number]:g} {_mark(each, sources)}"
    return ""


def _mark(each: Published, sources: list[str]) -> str:
    """Return the number of a source, which is listed below the table."""
    told = f"{each.title}: {each.source}"
    if told not in sources:
        sources.append(told)
    return f"[{sources.index(told) + 1}]"


def _chance(first: dict[str, Any], columns: list[str]) -> list[str]:
    cells = {"method": "chance", "median rank": f"{(first['gallery'] + 1) / 2:.1f}"}
    if "map_chance" in first:
        cells["MAP"] = _figure(first["map_chance"])
    for k in _KS:
        if f"recall_chance@{k}" in first:
            cells[f"recall@{k}"] = _figure(first[f"recall_chance@{k}"])
    return [cells.get(column, "") for column in columns]


def _notes(
    comparison: Comparison, number: int, published: tuple[Published, ...], sources: list[str]
) -> list[str]:
    notes = [f"[{i}] {told}." for i, told in enumerate(sources, 1)]
    shown = {result.method.partition(":")[0] for result in comparison.results}
    also = [
        f"{each.title} {each.values[number]:g} ({each.source})"
        for each in published
        if not each.main and each.method in shown
    ]
    if also:
        notes.append(f"Also published: {'; '.join(also)}.")
    return notes


def explained(comparison: Comparison) -> str:
    """Return what the columns mean, once for all directions."""
    text = (
        "MAP: by class, over the whole ranking. Recall and rank: of the query's paired item. "
        "Means over folds and seeds, ± the standard deviation."
    )
    if comparison.reference is not None:
        text += (
            f" p: how likely {comparison.reference} is higher by chance (one-sided paired "
            "bootstrap over queries): near 0, the method is lower; near 1, it is higher."
        )
    return text


def trained(results: Iterable[Result]) -> list[str]:
    """Return a line for each method that trains in epochs: how many, and why it stopped."""
    return [
        f"{result.method} stopped {result.fitted['stopped_']}"
        for result in results
        if "stopped_" in result.fitted
    ]


def sizes_table(comparison: Comparison) -> Table | None:
    """Return MAP by output size, mean over the directions; None where none was asked for."""
    swept = [result for result in comparison.ranked() if result.sizes]
    if not swept or not comparison.sizes:
        return None
    made = Table("MAP by output size, mean of both directions, one seed", ["method"])
    made.columns += map(str, comparison.sizes)
    found = {r.method: [r.sizes.get(str(k), {}) for k in comparison.sizes] for r in swept}
    made.rows = [[method, *map(_swept, own)] for method, own in found.items()]
    errors = [one["error"] for own in found.values() for one in own if "error" in one]
    if errors:
        made.notes.append(f"–: refused; {errors[0]}")
    return made


def _swept(found: dict[str, Any]) -> str:
    if "error" in found or not found:
        return "–"
    return _figure(sum(found.values()) / len(found))
