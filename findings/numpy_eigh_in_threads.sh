#!/bin/sh
# numpy.linalg.eigh from several threads at once takes many times as long as one call after another;
# scipy.linalg.eigh, the same LAPACK routine in the same process, does not.
#
# Expected: ten threads with a matrix each take about as long as ten calls in a row, or less.
# Seen: numpy 2.4.6 and scipy 1.17.1, as their wheels come (each with an OpenBLAS of its own), two
#   cores: ten calls of 384 x 384 in ten threads took 15 and 20 times the ten in a row with numpy, 1.0
#   and 1.1 times with scipy. numpy lets go of Python's lock in eigh, so OpenBLAS's threads of all calls wait
#   for each other; scipy keeps the lock. A server that answers each request in a thread feels it.
# It fails once numpy's threads take less than twice the time of the calls in a row.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 2>/dev/null
cat > "$work/threads.py" <<'PYTHON'
import statistics
import sys
import threading
import time

import numpy
import scipy.linalg

N = 10
matrix = numpy.random.default_rng(0).normal(size=(384, 384))
matrix = matrix @ matrix.T


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def together(eigh):
    threads = [threading.Thread(target=eigh, args=(matrix,)) for _ in range(N)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ratio(eigh):
    """Time in threads over time in a row, in pairs; the median of five."""
    eigh(matrix)
    pairs = [
        seconds(lambda: together(eigh)) / seconds(lambda: [eigh(matrix) for _ in range(N)])
        for _ in range(5)
    ]
    return statistics.median(pairs)


ours, theirs = ratio(numpy.linalg.eigh), ratio(scipy.linalg.eigh)
print(f"numpy {numpy.__version__}: {ours:.1f} times; scipy {scipy.__version__}: {theirs:.1f} times")
sys.exit(0 if ours > 2 > theirs else 1)
PYTHON
"$work/venv/bin/python" "$work/threads.py"
