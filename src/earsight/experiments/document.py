"""Tables inside a Markdown page whose other words are left alone.

What is generated stands between `<!-- NAME -->` and `<!-- /NAME -->`; nothing else is touched.
"""

import re
from pathlib import Path

from earsight.errors import InputError
from earsight.experiments.compare import Comparison
from earsight.experiments.official import read_looks
from earsight.experiments.results import Result
from earsight.experiments.table import side_by_side, sizes_table, tables

LOG = "official-test log"
EPOCH = "best_epoch_"
_LEFT_OUT = ("±", "recall@1", "recall@5")  # the results as JSON have them


def page_of(comparison: Comparison, described: str) -> str:
    """Return all of a comparison in Markdown."""
    made_by = sorted({_code(result) for result in comparison.results})
    parts = [f"{described} Made by `earsight compare` of {', '.join(made_by)}."]
    shown, swept = tables(comparison), sizes_table(comparison)
    together = [side_by_side(shown)] if shown else []
    if comparison.reference is not None:
        parts[0] += f" p is against {comparison.reference}."
    for table in [*together, *filter(None, [swept])]:
        parts += [table.markdown(_LEFT_OUT), *table.notes]
    kept = [f"{one.method} {one.fitted[EPOCH]}" for one in comparison.results if EPOCH in one.fitted]
    if kept:
        parts.append(f"Epoch kept by the first fit (0: untrained): {', '.join(kept)}.")
    parts += [f"`{result.method}` failed: {result.error}" for result in comparison.failed]
    return "\n\n".join(filter(None, parts))


def _code(result: Result) -> str:
    about = result.about
    return f"commit {about['commit']}" if about["commit"] else f"v{about['versions']['earsight']}"


def write_page(path: Path, comparison: Comparison, described: str, log: Path | None) -> list[str]:
    """Put a comparison into a page: its tables, and the log of looks.

    Blocks that the page does not have are passed over, but for the table itself.

    Args:
        path: The page.
        comparison: What was found; the block of its tables is "NAME PROTOCOL", such as
            "wikipedia official test".
        described: One sentence on data and protocol.
        log: The log of official tests, for the block "official-test log".

    Returns:
        The names of the blocks written.

    Raises:
        InputError: The page cannot be read, or has no place for the table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    name = f"{comparison.name} {comparison.protocol.name}"
    blocks = {name: page_of(comparison, described)}
    if log is not None:
        blocks[LOG] = looks(log)
    written = [block for block in blocks if has_block(text, block)]
    if name not in written:
        raise InputError(
            f"{path} has no place for this table. Put these two lines where it should stand: "
            f"<!-- {name} --> and <!-- /{name} -->."
        )
    for block in written:
        text = replace_block(text, block, blocks[block])
    path.write_text(text, encoding="utf-8")
    return written


def has_block(text: str, name: str) -> bool:
    """Whether a page has a place for a block."""
    return f"<!-- {name} -->" in text and f"<!-- /{name} -->" in text


def replace_block(text: str, name: str, content: str) -> str:
    """Return a page with one block replaced.

    >>> replace_block("a <!-- t -->old<!-- /t --> z", "t", "new")
    'a <!-- t -->\\nnew\\n<!-- /t --> z'
    """
    marked = re.compile(
        f"(<!-- {re.escape(name)} -->).*?(<!-- /{re.escape(name)} -->)", flags=re.DOTALL
    )
    return marked.sub(lambda found: f"{found[1]}\n{content}\n{found[2]}", text)


def looks(log: Path) -> str:
    """Return the log of official tests as a Markdown table."""
    noted = read_looks(log)
    if not noted:
        return "No look yet."
    lines = ["| date | method | data | seeds | commit | seen |", "|---|---|---|---:|---|---|"]
    for look in noted:
        both = [figures for name, figures in look.items() if "->" in name]
        seen = ", ".join(
            f"{key} {' / '.join(f'{figures[key]:.3f}' for figures in both)}"
            for key in ("map", "recall@10")
            if all(key in figures for figures in both) and both
        )
        cells = [look["date"][:10], f"`{look['method']}`", f"{look['data']} ({look['sha256'][:8]})"]
        cells += [str(look["seeds"]), str(look["commit"]), seen or f"failed: {look['error']}"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
