"""Tables inside a Markdown page whose other words are left alone.

What is generated stands between `<!-- NAME -->` and `<!-- /NAME -->`; nothing else is touched.
"""

import re
from pathlib import Path

from earsight.errors import InputError
from earsight.experiments.compare import Comparison
from earsight.experiments.provenance import check_clean
from earsight.experiments.results import Result
from earsight.experiments.table import side_by_side, sizes_table, tables

EPOCH = "best_epoch_"
_LEFT_OUT = ("±", "recall@1", "recall@5", "p (@10)")  # the results as JSON have them


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
    kept = [
        f"{one.method} {one.fitted[EPOCH]}" for one in comparison.results if EPOCH in one.fitted
    ]
    if kept:
        parts.append(f"Epoch kept by the first fit (0: untrained): {', '.join(kept)}.")
    parts += [f"`{result.method}` failed: {result.error}" for result in comparison.failed]
    return "\n\n".join(filter(None, parts))


def _code(result: Result) -> str:
    about = result.about
    return f"commit {about['commit']}" if about["commit"] else f"v{about['versions']['earsight']}"


def write_page(path: Path, comparison: Comparison, described: str) -> str:
    """Put a comparison into the place that a page has for it.

    Args:
        path: The page.
        comparison: What was found; the block of its tables is "NAME PROTOCOL", such as
            "wikipedia official test".
        described: One sentence on data and protocol.

    Returns:
        The name of the block.

    Raises:
        InputError: The page cannot be read, or has no place for the table; or the code, now or
            when a result was kept, is not that of a commit.
    """
    check_clean()
    if old := [r.method for r in comparison.results if str(r.about["commit"]).endswith("-dirty")]:
        raise InputError(
            f"A published table must come from commits; the result of {old[0]} was kept by changed "
            "code. Fit it again (--again)."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    name = f"{comparison.name} {comparison.protocol.name}"
    if not has_block(text, name):
        raise InputError(
            f"{path} has no place for this table. Put these two lines where it should stand: "
            f"<!-- {name} --> and <!-- /{name} -->."
        )
    path.write_text(replace_block(text, name, page_of(comparison, described)), encoding="utf-8")
    return name


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
