"""What worker processes do in tests; a module that they can import."""

import os
import signal


def double(x: int) -> int:
    return 2 * x


def die_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x


def refuse_three(x: int) -> int:
    if x == 3:
        raise ValueError("three is refused")
    return x
