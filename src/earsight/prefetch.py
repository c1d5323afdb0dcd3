"""Reading ahead: one thread reads or decodes while another computes."""

import threading
from collections.abc import Generator, Iterable
from queue import Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_TICK = 0.05  # seconds after which a reader that waits looks whether it is still wanted
_PATIENCE = 1.0  # seconds for an unwanted reader to end; one deep in a damaged file ends later


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Yield `items` while another thread draws the next ones, at most `depth` of them waiting.

    Reading, decoding and computing leave Python's lock to others, so they overlap. What
    drawing raises is raised here, in its turn. A consumer that stops early ends the reader.

    >>> list(ahead(range(5)))
    [0, 1, 2, 3, 4]
    """
    waiting: Queue[tuple[Item | None, BaseException | None, bool]] = Queue(depth)
    unwanted = threading.Event()

    def put(item: Item | None, error: BaseException | None, more: bool) -> bool:
        while not unwanted.is_set():
            try:
                waiting.put((item, error, more), timeout=_TICK)
            except Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not put(item, None, True):
                    return
                del item  # let go of it before the next one is drawn: they may be large
        except BaseException as error:  # whatever it is, it belongs to the consumer
            put(None, error, False)
        else:
            put(None, None, False)

    reader = threading.Thread(target=read, name="earsight-reader", daemon=True)
    reader.start()
    try:
        while True:
            item, error, more = waiting.get()
            if error is not None:
                raise error
            if not more:
                return
            yield item  # type: ignore[misc]  # it is one of `items` wherever there is more
            del item
    finally:
        unwanted.set()
        reader.join(_PATIENCE)
