"""Indexes a folder into a library on S3, in a process of its own: python _feeder.py FOLDER LIBRARY.

It waits, with everything imported, for a line on stdin: "all", or how many clips are to be
acknowledged before it kills itself. Each path is printed once it is.
"""

import os
import signal
import sys
from pathlib import Path

import lancedb  # noqa: F401 - imported before the clock runs

from _folders import QUICK, in_this_process
from earsight.library.catalog.s3 import SharedStore
from earsight.library.indexing import ingest
from earsight.library.indexing.pipeline import index

ingest._BATCH_CLIPS = 3  # many commits, many moments to die at


def put_clips(self: SharedStore, clips: object, *more: object) -> None:
    clips = list(clips)  # type: ignore[call-overload]
    _real(self, clips, *more)
    for path, *_ in clips:
        sys.stdout.buffer.write(path + b"\n")
    sys.stdout.buffer.flush()
    global _told
    _told += len(clips)
    if _told >= _most:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _real, SharedStore.put_clips = SharedStore.put_clips, put_clips  # type: ignore[assignment, method-assign]
    in_this_process()
    what = sys.stdin.readline().strip()
    _told, _most = 0, float("inf") if what == "all" else float(what)
    report = index(Path(sys.argv[1]), library=sys.argv[2], rebuild="--rebuild" in sys.argv, **QUICK)
    sys.stderr.write(f"{report.embedding.id} {report.embedding.n_rows}\n")
    os._exit(0)
