"""Tables to damage, and ways to damage them; for tests."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from _lance import put_together, taken_apart
from _rows import make_rows
from earsight.features import FeatureSequence
from earsight.vectors import LanceIndex, SequenceStore, StoredSequence


def make_tables(folder: Path) -> Path:
    """Make both kinds of tables, with several versions and removed rows."""
    index = LanceIndex(folder, "t")
    index.create(5)
    for first in (0, 300):
        index.upsert(make_rows(300, first), np.random.default_rng(first).normal(size=(300, 5)))
    index.delete(["c5"])
    index.delete([f"c{i}" for i in range(100, 180)])
    store = SequenceStore(folder, "s")
    store.create()
    sequence = FeatureSequence(np.ones((2, 3), "f4"), np.arange(2.0))
    store.upsert([StoredSequence(f"k{i}", "c", "yamnet", sequence) for i in range(3)])
    return folder


class Opener:
    """A process that uses tables, as LanceDB may end it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def used(self, folder: Path) -> str:
        if self.process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("_opener.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        return said or f"foreign: the process ended with {self.close()}"

    def close(self) -> int:
        if self.process is None:
            return 0
        self.process.communicate()
        code, self.process = self.process.returncode, None
        return code


def damaged(data: bytes, draw: Any) -> bytes:
    """Return the content of a file, damaged in one of several ways."""
    kind = draw(st.sampled_from(["flips", "end", "large", "cut", "empty"]))
    changed = bytearray(data)
    if kind in ("flips", "end"):
        last = len(changed) if kind == "flips" else min(len(changed), 200)
        for _ in range(draw(st.integers(1, 8))):
            changed[-1 - draw(st.integers(0, last - 1))] ^= draw(st.integers(1, 255))
    elif kind == "large":
        at = draw(st.integers(0, len(changed) - 1))
        value = draw(st.sampled_from([2**31, 2**40, 2**62, 2**64 - 1]))
        changed[at : at + 8] = struct.pack("<Q", value)
    else:
        del changed[draw(st.integers(0, len(changed) - 1)) if kind == "cut" else 0 :]
    return bytes(changed)


def changed(message: bytes, draw: Any, depth: int = 0) -> bytes:
    """Return a message with one field, there or deeper, that is another one."""
    fields = taken_apart(message)
    at = draw(st.integers(0, len(fields) - 1)) if fields else 0
    kind = draw(st.sampled_from(["value", "value", "again", "gone", "added", "deeper"]))
    if kind == "added" or not fields:
        value = draw(st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=40)))
        fields.insert(at, (draw(st.integers(1, 25)), value))
        return put_together(fields)
    number, value = fields[at]
    if kind == "deeper" and isinstance(value, bytes) and depth < 3:
        try:
            inner = changed(value, draw, depth + 1)
        except (IndexError, AssertionError):  # no message
            inner = draw(st.binary(max_size=40))
        fields[at] = (number, inner)
    elif kind == "again":
        fields.insert(at, fields[at])
    elif kind == "gone":
        del fields[at]
    elif isinstance(value, int):
        large = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1])
        fields[at] = (number, draw(st.one_of(large, st.integers(0, 2**64 - 1))))
    else:
        fields[at] = (number, draw(st.one_of(st.binary(max_size=40), st.text().map(str.encode))))
    return put_together(fields)
