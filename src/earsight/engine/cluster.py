"""Work on a Ray cluster: in processes of other machines, any of which may be lost.

Ray carries functions, items and results between the machines by pickle: whoever can reach a
cluster's ports can run code on it. A cluster is as trusted as the machines it is made of.
"""

import copy
import logging
import os
import pickle
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from itertools import islice
from typing import Any

from earsight import __version__, extras
from earsight.engine._base import TICK, Item, Result, WorkerDied
from earsight.errors import EngineError, InputError

OLDEST = "2.40"  # Ray
TRIES = 3  # for an item whose process or machine was lost
_CONNECT = 5.0  # seconds
_EVERY = 1.0  # seconds between two looks at a cluster's head
_SILENT = 15.0  # seconds without an answer after which a cluster's head is given up
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # the kind of frame with which a server of Ray's protocol answers that


class Cluster:
    """A Ray cluster that this process is connected to (see `connected`).

    Attributes:
        address: host:port of its head.
        cpus: How many items it works on at a time: nodes come and go.
    """

    def __init__(self, ray: Any, address: str) -> None:
        self._ray = ray
        self.address = address
        self._asked = self._heard = time.monotonic()
        self.cpus = 1
        self._count()

    def run(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        workers: int | None = None,
        start: Callable[[], None] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> Iterator[tuple[Item, Result | WorkerDied]]:
        """Yield (item, result) as they come, as `engine.run` does, from the whole cluster.

        An item whose process or machine is lost is worked on again elsewhere; after the third loss
        it is yielded as `WorkerDied`. Every item is yielded once.

        Args:
            work: A function that every machine of the cluster can import.
            items: What to work on; drawn from only as fast as it is taken.
            workers: Items at a time; default: the CPUs of the cluster.
            start: Called once in each process.
            tick: Called here every half second while nothing comes.

        Raises:
            EngineError: The cluster is lost as a whole.
        """
        task = self._ray.remote(num_cpus=1, max_retries=TRIES - 1)(_outcome)
        waiting = iter(items)
        pending: dict[Any, Item] = {}
        try:
            while True:
                room = max(0, (workers or 2 * self.cpus) - len(pending))
                for item in islice(waiting, room):
                    pending[task.remote(work, start, item)] = item
                if not pending:
                    return
                for ref in self._done(list(pending), tick):
                    yield pending.pop(ref), self._got(ref)
        finally:
            for ref in pending:
                with suppress(Exception):  # it is done, or its machine is gone
                    self._ray.cancel(ref, force=True)

    def merged(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield one result: those of all items, merged in order by first.merge(second).

        They are merged here: merges that were left to Ray ended this process where a node was lost
        at the wrong moment (2.60: "Tried to complete task that was not pending").

        Args:
            work: A function that every machine of the cluster can import.
            items: What to work on, in the order of their results; each may be worked on again.

        Raises:
            EngineError: The cluster is lost, or one item's process again and again.
        """
        whole: Any = None
        early: dict[int, Any] = {}  # what came before its turn
        turn = 0
        for (number, _), result in self.run(partial(_second, work), enumerate(items)):
            if isinstance(result, WorkerDied):
                raise EngineError(
                    f"Sums could not be brought together on the cluster at {self.address}: "
                    f"{result} Nothing was changed; run the same command again."
                ) from result
            early[number] = result
            while turn in early:
                part, turn = early.pop(turn), turn + 1
                if whole is None:
                    whole = copy.deepcopy(part)  # what Ray hands out is read-only
                else:
                    whole.merge(part)
        if whole is not None:
            yield whole

    def _done(self, refs: list[Any], tick: Callable[[], None] | None) -> list[Any]:
        """Return those that are ready, after half a second at most."""
        done, _ = self._ray.wait(refs, num_returns=1, timeout=TICK)
        if time.monotonic() - self._asked > _EVERY:
            self._listen()
        if not done and tick is not None:
            tick()
        found: list[Any] = done
        return found

    def _listen(self) -> None:
        """Check that the head of the cluster is there: without it Ray ends this process itself."""
        self._asked = time.monotonic()
        if _answers(self.address):
            self._heard = self._asked
            self._count()
        elif self._asked - self._heard > _SILENT:
            raise EngineError(
                f"The Ray cluster at {self.address} is gone: nothing has answered there for "
                f"{_SILENT:.0f} s. What was done is kept; start the cluster, and run the same "
                "command again."
            )

    def _count(self) -> None:
        self.cpus = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _got(self, ref: Any) -> Any:
        """Return a result, or `WorkerDied` where it was lost; raise what the work raised."""
        try:
            is_error, outcome = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:  # before our code ran, or after it
            raise EngineError(
                f"A machine of the cluster at {self.address} could not do its work: "
                f"{error.cause or error}. The same earsight must be installed on each."
            ) from error
        except self._ray.exceptions.RayError:
            return WorkerDied(f"The process or the machine that worked on it was lost, {TRIES} ×.")
        if is_error:
            raise outcome
        return outcome


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a Ray cluster of which this machine is a part, and let go of it at the end.

    Meanwhile what is printed goes to stderr: Ray tells of lost nodes on stdout, where results go.

    Args:
        address: host:port of its head, as `ray start --head` tells it.

    Raises:
        InputError: An address of another form.
        EngineError: Ray is not installed or too old, nothing listens there, or what does is no Ray
            cluster, one of another version, or has other versions of Earsight on its machines.
    """
    _check_address(address)
    ray = _ray()
    if not _answers(address):
        raise EngineError(
            f"No Ray cluster answers at {address}. Start one with `ray start --head --port PORT` "
            "and give the address that it tells; nothing was changed."
        )
    with redirect_stdout(sys.stderr):
        _join(ray, address)
        try:
            cluster = Cluster(ray, address)
            _check_nodes(ray, cluster)
            yield cluster
        finally:
            ray.shutdown()


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:  # Ray raises RuntimeError, ConnectionError, ValueError and others
        raise EngineError(
            f"The Ray cluster at {address} cannot be used: {error}. This machine must be one of "
            "its nodes (`ray start --address`), with the same versions of Ray and Python."
        ) from error


def _check_address(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536) or "/" in host:
        raise InputError(
            "`address` must be host:port, as `ray start --head` tells it, such as 10.0.0.1:6379; "
            f"got {address!r}."
        )


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when it is imported
    extras.require("ray", "The engine ray", EngineError)
    import ray

    if tuple(map(int, ray.__version__.split(".")[:2])) < tuple(map(int, OLDEST.split("."))):
        raise EngineError(
            f"Ray must be of version {OLDEST} or newer; got {ray.__version__}. "
            f"{extras.command('ray')} --upgrade."
        )
    return ray


def _answers(address: str) -> bool:
    """Return whether what listens at an address speaks Ray's protocol (HTTP/2, for gRPC)."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT) as wire:
            wire.sendall(_HTTP2)
            head = b""
            while len(head) < 9 and (more := wire.recv(9 - len(head))):
                head += more
    except OSError:
        return False
    return len(head) == 9 and struct.unpack("!3xB5x", head)[0] == _SETTINGS


def _check_nodes(ray: Any, cluster: Cluster) -> None:
    """Check that every node has this very Earsight, before work is sent there."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(_version)
    refs = {
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(): node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"]
    }  # fmt: skip
    for ref, host in refs.items():
        while not cluster._done([ref], None):
            pass
        found = cluster._got(ref)
        if isinstance(found, WorkerDied):  # the node was lost meanwhile; the others do its work
            continue
        if found != __version__:
            raise EngineError(
                f"Every machine of the cluster must have Earsight {__version__}; {host} has "
                f"{found}. Install the same version there."
            )


def _version() -> tuple[bool, str]:
    return False, __version__


_started: set[Any] = set()


def _outcome(work: Any, start: Any, item: Any) -> tuple[bool, Any]:
    """Do the work in a process of the cluster; return (whether it raised, what)."""
    if start is not None and start not in _started:
        start()
        _started.add(start)
    try:
        return False, work(item)
    except Exception as error:
        return True, _that_travels(error)


def _second(work: Callable[[Item], Result], numbered: tuple[int, Item]) -> Result:
    """Work on an item that has a number."""
    return work(numbered[1])


def _that_travels(error: Exception) -> Exception:
    """Return the error itself if it comes out of a pickle as it was; else what it says."""
    try:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - of what was pickled here
        if type(again) is type(error) and str(again) == str(error):
            return error
    except Exception as trouble:
        return EngineError(f"{type(error).__name__}: {error} ({trouble})")
    return EngineError(f"{type(error).__name__}: {error}")
