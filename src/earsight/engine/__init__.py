"""Where work runs: in worker processes of this machine, or on a Ray cluster."""

from earsight.engine._base import NoTimeLeft, TookTooLong, WorkerDied
from earsight.engine.cluster import Cluster, connected
from earsight.engine.isolated_worker import IsolatedWorker, run_within
from earsight.engine.processes import default_workers, run

__all__ = [
    "Cluster",
    "IsolatedWorker",
    "NoTimeLeft",
    "TookTooLong",
    "WorkerDied",
    "connected",
    "default_workers",
    "run",
    "run_within",
]
