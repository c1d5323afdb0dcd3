"""Objects on S3: whole or not there, and found by patterns as files are."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from _s3 import Server
from earsight.experiments.partitions import matching
from earsight.storage import Remote


def test_an_upload_that_is_interrupted_leaves_no_half_object(
    tmp_path: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        """What the command line makes of Ctrl-C."""

    def stop(*_: object) -> None:
        raise Stopped

    file, remote, size = tmp_path / "file", Remote("clips", "a/file.h5"), 40 << 20
    file.write_bytes(b"what stood before")
    remote.upload(file)
    file.write_bytes(bytes(size))
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stopped):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            remote.upload(file)
            threading.Event().wait(30)
    finally:
        signal.signal(signal.SIGUSR1, before)
    info = remote.info()
    assert info is not None and info.size in (len(b"what stood before"), size)
    assert [key for key, _ in Remote("clips").walk()] == ["a/file.h5"]


UPLOAD = """
import resource, sys
from pathlib import Path
from earsight.storage import Remote
remote = Remote("clips", "large")
remote.info()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
remote.upload(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is counted in other units")
def test_an_upload_takes_no_memory_of_the_size_of_the_file(tmp_path: Path, s3: Server) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(100 << 20)
    command = [sys.executable, "-c", UPLOAD, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60 << 10  # KiB


def test_a_star_stays_in_its_folder_as_on_a_disk(
    tmp_path: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside features.h5 its parts may lie, whose rows are the same once more."""
    names = ["a/features.h5", "a/features.h5.parts/1-of-2.h5", "a/more.h5", "b/features.h5"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        Remote("clips", name).upload(tmp_path / name)
    for pattern, found in (
        ("a/*.h5", ["a/features.h5", "a/more.h5"]),
        ("*/features.h5", ["a/features.h5", "b/features.h5"]),
        ("a/*.parts/*.h5", ["a/features.h5.parts/1-of-2.h5"]),
    ):
        assert matching(f"s3://clips/{pattern}") == [Remote("clips", name) for name in found]
        assert matching(f"{tmp_path}/{pattern}") == [tmp_path / name for name in found]
