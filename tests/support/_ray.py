"""A Ray cluster of two nodes on loopback, in processes of its own; one node can be killed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # elsewhere too: it makes this machine 127.0.0.1
    "RAY_DISABLE_MEMORY_MONITOR": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "OMP_NUM_THREADS": "1",
    # Where the functions of `_work` are, and what this process was given.
    "PYTHONPATH": os.pathsep.join(
        filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")])
    ),
}


class Nodes:
    """Two nodes of one CPU each; processes that are given `environment` can use them."""

    def __init__(self, process: "subprocess.Popen[str]", environment: dict[str, str]) -> None:
        self._process, self.environment = process, environment
        self.address = self._answer()

    def kill(self) -> None:
        """Kill the second node: all its processes, at once."""
        self._do("kill")

    def restore(self) -> None:
        """Have two nodes again."""
        self._do("restore")

    def kill_head(self) -> None:
        """Kill the process that knows of the nodes."""
        self._do("head")

    def _do(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._answer() == command

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("> "):
                return line.removeprefix("> ").strip()
        raise RuntimeError("The cluster did not start.")


@contextmanager
def ray_nodes(**more: str) -> Iterator[Nodes]:
    """Start a cluster; end it with all its processes."""
    # A short folder: the names of Ray's sockets must not be longer than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, **QUIET, **more}
        process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, "RAY_TMPDIR": folder},
        )
        try:
            yield Nodes(process, environment)
        finally:
            process.communicate(timeout=120)  # which closes its input: it ends


def _main() -> None:
    import psutil
    import ray

    ray.__version__ = os.environ.get("AS_RAY", ray.__version__)
    from ray.cluster_utils import Cluster

    how = {
        "num_cpus": 1,
        "object_store_memory": 80 * 2**20,
        "include_dashboard": False,
        "node_ip_address": "127.0.0.1",
    }
    cluster = Cluster(initialize_head=True, head_node_args=how)
    node = cluster.add_node(**how)
    cluster.wait_for_nodes()
    sys.stdout.write(f"> {cluster.address}\n")
    sys.stdout.flush()
    killed = False
    for line in sys.stdin:
        if line.strip() == "kill":
            (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
            top = psutil.Process(raylet)
            for process in [top, *top.children(recursive=True)]:
                process.kill()
            killed = True
        elif line.strip() == "restore" and killed:
            cluster.remove_node(node, allow_graceful=False)
            node = cluster.add_node(**how)
            cluster.wait_for_nodes()
            killed = False
        elif line.strip() == "head":
            (gcs,) = (info.process.pid for info in cluster.head_node.all_processes["gcs_server"])
            psutil.Process(gcs).kill()
        sys.stdout.write(f"> {line}")
        sys.stdout.flush()
    cluster.shutdown()


if __name__ == "__main__":
    _main()
