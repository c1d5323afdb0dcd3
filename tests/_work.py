"""What worker processes do in tests; a module that they can import."""

import os
import signal
import threading
import time


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


def crash(_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(seconds: float) -> str:
    time.sleep(seconds)
    return "done"


def fail(_: object) -> None:
    raise ZeroDivisionError("an error of its own")


def nothing_that_travels(_: object) -> object:
    return threading.Lock()
