"""Objects on S3: whole or not there, and found by patterns as files are."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import earsight
from _s3 import Relay, Server
from earsight.errors import FeatureFileError, InputError, StorageError
from earsight.experiments.partitions import fit_files, matching
from earsight.features import FeatureBatches, PairedFeatures, write_features
from earsight.storage import Ranged, Remote


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


def test_a_tag_tells_contents_apart_and_removing_twice_is_no_error(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote("clips", "a/b")
    assert remote.tag() is None
    tags = []
    for data in (b"one", b"two", b"one"):
        remote.write(data)
        assert remote.read() == data
        tags.append(remote.tag())
    assert tags[0] == tags[2] != tags[1]
    monkeypatch.setenv("EARSIGHT_MAX_BYTES", "2")
    with pytest.raises(InputError, match="s3://clips/a/b"):
        remote.read()
    remote.delete()
    remote.delete()
    assert remote.info() is None


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


def test_a_fit_moves_the_rows_that_it_reads(
    tmp_path: Path, s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pass once, though four parts are cut from the file."""
    rng, far, near = np.random.default_rng(0), Remote("clips", "rows.h5"), tmp_path / "rows.h5"
    labels = rng.integers(0, 5, 40_000)
    views = {m: rng.normal(size=(len(labels), d)).astype("f4") for m, d in (("a", 50), ("b", 99))}
    write_features(near, PairedFeatures(views, labels=labels))
    far.upload(near)
    line = Relay(s3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    with pytest.raises(InputError, match=r"tnn .*cannot be fitted to files in parts"):
        fit_files(earsight.method("tnn"), [far])
    assert line.received == 0
    for name, passes in (("cca", 1), ("cluster_cca", 2)):
        line.received = 0
        found, expected = earsight.method(name), earsight.method(name)
        fit_files(found, [far])
        fit_files(expected, [near])
        for modality, weights in expected.weights_.items():
            assert np.array_equal(found.weights_[modality], weights)
        assert passes < line.received / near.stat().st_size < passes + 0.7
    with Ranged(far) as source:
        batches = iter(FeatureBatches(source)())
        next(batches)
        line.cut()
        with pytest.raises(StorageError, match=r"rows.h5 could not be read"):
            list(batches)


def test_a_file_that_changes_while_it_is_read_and_one_that_is_none(
    tmp_path: Path, s3: Server
) -> None:
    far, near = Remote("clips", "rows.h5"), tmp_path / "rows.h5"
    near.write_bytes(b"no HDF5")
    far.upload(near)
    with pytest.raises(FeatureFileError, match=r"s3://clips/rows\.h5 cannot be read"):
        fit_files(earsight.method("cca"), [far])
    with pytest.raises(StorageError, match="There is no s3://clips/other"):
        Ranged(Remote("clips", "other.h5"))
    content = np.random.default_rng(0).bytes(1_000_000)
    near.write_bytes(content)
    far.upload(near)
    source = Ranged(far)
    for start, n in ((0, 10), (262_140, 9), (999_990, 50), (5, 600_000), (2_000_000, 1)):
        source.seek(start)
        assert source.read(n) == content[start : start + n]
    assert source.seek(-3, os.SEEK_END) == source.tell() == 999_997
    with pytest.raises(ValueError, match="at least 0; got -1"):
        source.seek(-1_000_001, os.SEEK_END)
    assert source.tell() == 999_997
    with Ranged(far) as other:
        assert other.read(3) == content[:3]
    assert other.closed and other._file.closed
    source.check()
    near.write_bytes(content[:500_000])
    far.upload(near)
    with pytest.raises(StorageError, match="written anew while it was read"):
        source.check()
    source.seek(600_000)
    with pytest.raises(StorageError):
        source.read(5)
