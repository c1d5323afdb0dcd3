"""Tables inside a Markdown page whose other words are left alone.

What is generated stands between `<!-- NAME -->` and `<!-- /NAME -->`; nothing else is touched.
"""

import re
from pathlib import Path

from earsight.errors import InputError
from earsight.experiments.compare import Comparison
from earsight.experiments.official import read_looks
from earsight.experiments.provenance import check_clean
from earsight.experiments.results import Result
from earsight.experiments.table import explained, sizes_table, tables, title_of, trained

LOG = "official-test log"


def page_of(comparison: Comparison, described: str) -> str:
    """Return all of a comparison in Markdown."""
    made_by = sorted({_code(result) for result in comparison.results})
    parts = [
        f"{described} Made by `earsight compare` of {', '.join(made_by)}.",
        explained(comparison),
        *(table.markdown() for table in tables(comparison)),
    ]
    swept = sizes_table(comparison)
    if swept is not None:
        parts.append(swept.markdown())
    parts += ["\n".join(f"- {line}" for line in trained(comparison.results))]
    parts += [f"`{result.method}` failed: {result.error}" for result in comparison.failed]
    return "\n\n".join(filter(None, parts))


def _code(result: Result) -> str:
    about = result.about
    return f"commit {about['commit']}" if about["commit"] else f"v{about['versions']['earsight']}"


def write_page(path: Path, comparison: Comparison, described: str, log: Path | None) -> list[str]:
    """Put a comparison into a page: its table, the row of each method, the log of looks.

    Blocks that the page does not have are passed over, but for the table itself.

    Args:
        path: The page.
        comparison: What was found; its table's block is "NAME PROTOCOL", such as
            "wikipedia official test", a method's row "NAME PROTOCOL: METHOD".
        described: One sentence on data and protocol.
        log: The log of official tests, for the block "official-test log".

    Returns:
        The names of the blocks written.

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
    blocks = {name: page_of(comparison, described)}
    blocks |= {
        f"{name}: {result.method}": _row(result, f"{comparison.name}, {comparison.protocol.name}")
        for result in comparison.results
        if result.error is None
    }
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


def _row(result: Result, where: str) -> str:
    """Return a method's figures as one line."""
    parts = []
    for direction, own in result.directions.items():
        figures = [f"MAP {own['map']:.3f} (chance {own['map_chance']:.3f})"] if "map" in own else []
        if "recall@10" in own:
            figures.append(f"recall@10 {own['recall@10']:.3f}")
        parts.append(f"{title_of(direction)} {', '.join(figures)}")
    return f"Measured ({where}): {'; '.join(parts)}; fitted in {result.fit_seconds:.2f} s."


def looks(log: Path) -> str:
    """Return the log of official tests as a Markdown table."""
    noted = read_looks(log)
    if not noted:
        return "No look yet."
    lines = ["| date | method | data | seeds | commit | seen |", "|---|---|---|---:|---|---|"]
    for look in noted:
        seen = "; ".join(
            f"{title_of(name)} {', '.join(f'{key} {value:.3f}' for key, value in figures.items())}"
            for name, figures in look.items()
            if "->" in name
        )
        cells = [look["date"], f"`{look['method']}`", f"{look['data']} ({look['sha256'][:8]})"]
        cells += [str(look["seeds"]), str(look["commit"]), seen or f"failed: {look['error']}"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
