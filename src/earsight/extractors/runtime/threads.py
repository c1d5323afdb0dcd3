"""How many threads decoding and networks may use: worker processes want one each."""

import os

from earsight.errors import InputError


def n_threads() -> int:
    """Return how many threads a decoder or a network may use, from EARSIGHT_THREADS; 0: all.

    Raises:
        InputError: EARSIGHT_THREADS is not a whole number of at least 1.
    """
    asked = os.environ.get("EARSIGHT_THREADS", "")
    if not asked:
        return 0
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"EARSIGHT_THREADS must be a whole number of at least 1; got {asked!r}.")
    return int(asked)


def use_one_thread() -> None:
    """Let decoders and networks of this process use one thread each: others use the other cores."""
    os.environ["EARSIGHT_THREADS"] = "1"
