"""Opens tables in a process of its own: python _opener.py; a path in, what came of it out."""

import sys
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np

from earsight.errors import EarsightError
from earsight.vectors import InMemoryIndex, LanceIndex, SequenceStore, Table, table_names


def used(folder: Path) -> str:
    """Read, search, write and tidy all in a folder; return a foreign error, else what was said."""
    said = []
    index, store = LanceIndex(folder, "t"), SequenceStore(folder, "s")
    calls = {
        "names": lambda: table_names(folder),
        "rows": index.rows,
        "read": lambda: list(index.read()),
        "search": lambda: index.search(np.ones((1, 5)), 3, {"modality": "audio"}),
        "dim": lambda: index.dim,
        "held": lambda: InMemoryIndex.of(index),
        "count": index.count,
        "sequences": lambda: list(store.read()),
        "keys": store.keys,
        "lengths": store.lengths,
        "delete": lambda: index.delete(["c9"]),
        "optimize": lambda: index.optimize(timedelta(seconds=1)),
        "drop": lambda: (index.drop(), store.drop(), Table(folder, "x").drop()),
    }
    for name, call in calls.items():
        try:
            call()
        except EarsightError:
            said.append(name)
        except BaseException as error:
            return f"foreign: {name}: {type(error).__name__}: {error}".replace("\n", " ")
    return f"refused: {' '.join(said)}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        sys.stdout.write(f"{used(Path(line.rstrip(chr(10))))}\n")
        sys.stdout.flush()
