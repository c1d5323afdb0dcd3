"""What one machine of many makes on S3, where all may begin at the same moment.

LanceDB's own way to make a table is not safe there: of two that make one, the second can commit its
empty table over the first one's rows. S3 shows every object in the next listing. So each machine
puts a ticket and then looks: who sees no other ticket makes it; who sees one takes its own back and
comes again after a random pause. Two can never both see none: the one that put its ticket later
sees the earlier one, or, when that is back already, what was made under it.
"""

import logging
import random
import secrets
import time
from collections.abc import Callable

from earsight.errors import StorageError
from earsight.storage import Remote

LOG = logging.getLogger(__name__)

_DEAD = 300.0  # seconds; a ticket so much older than ours, by S3's clock, is of a dead machine
_PATIENCE = 600.0  # seconds that others are waited for
_PAUSE = 0.5  # seconds at most between two tickets, more with each


def once(tickets: Remote, is_made: Callable[[], bool], make: Callable[[], object]) -> None:
    """Make what is not there yet; return when it is there, whoever made it.

    Args:
        tickets: Where tickets are put; nothing else may be below.
        is_made: Whether it is there.
        make: Makes it; much faster than the time after which a machine is taken for dead.

    Raises:
        StorageError: Others hold tickets, and have made nothing.
    """
    until, tries = time.time() + _PATIENCE, 0
    while not (is_made() or _made_alone(tickets, is_made, make)):
        tries += 1
        LOG.info("Another machine is about to make what %s/ is for; it is waited for.", tickets)
        if time.time() > until:
            raise StorageError(
                f"Others have been about to make {str(tickets).removesuffix('.making')} for "
                f"{_PATIENCE / 60:.0f} minutes. If none of them lives, remove {tickets}/ and run "
                "again."
            )
        time.sleep(tries * _PAUSE * random.random())


def _made_alone(tickets: Remote, is_made: Callable[[], bool], make: Callable[[], object]) -> bool:
    """Whether it is made now; it is not where another machine may be making it."""
    began, ours = time.time(), tickets / secrets.token_hex(8)
    ours.mark()
    dead: list[str] = []
    try:
        found = {name: info.mtime_ns for name, info in tickets.walk()}
        put = found.pop(ours.name, None)
        if put is None:  # this machine slept, and was taken for dead
            return False
        dead = [name for name, at in found.items() if (put - at) / 1e9 > _DEAD]
        if len(found) > len(dead):
            return False
        if not is_made():
            if abs(time.time() - began) > _DEAD / 4:  # it may have slept
                return False
            make()
        return True
    finally:
        for name in (ours.name, *dead):
            try:
                (tickets / name).delete()
            except StorageError as error:  # what counts is done, or has an error of its own
                LOG.warning("The ticket %s/%s is left: %s", tickets, name, error)
