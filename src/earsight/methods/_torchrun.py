"""Whether torchrun started this process, and as which of how many; no torch is needed for that."""

import os


def launched() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; (0, 1) where torchrun has no part in it.

    >>> launched()
    (0, 1)
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
