"""Indexes a folder and kills itself in the middle: python _killed.py FOLDER [LIBRARY].

It waits, with everything imported, for a line on stdin: the seconds to live once it has begun, or
"clips" and how many are to be acknowledged before it dies. Each path is printed once it is.
"""

import os
import signal
import sys
import threading
from pathlib import Path

import av  # noqa: F401 - imported before the clock runs
import lancedb  # noqa: F401
import onnxruntime  # noqa: F401

from _folders import QUICK, in_this_process
from earsight.library.catalog.sqlite import Catalog
from earsight.library.indexing import ingest
from earsight.library.indexing.pipeline import index


def put_clips(self: Catalog, clips: object, *more: object) -> None:
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
    ingest._BATCH_CLIPS, ingest._BATCH_SECONDS = 3, 0.05  # many commits, many moments to die at
    _real, Catalog.put_clips = Catalog.put_clips, put_clips  # type: ignore[assignment, method-assign]
    in_this_process()
    _told, _most = 0, float("inf")
    what, _, amount = sys.stdin.readline().rpartition(" ")
    if what == "clips":
        _most = float(amount)
    else:
        threading.Timer(float(amount), os.kill, (os.getpid(), signal.SIGKILL)).start()
    index(Path(sys.argv[1]), library=sys.argv[2] if len(sys.argv) > 2 else None, **QUICK)
    os._exit(0)
