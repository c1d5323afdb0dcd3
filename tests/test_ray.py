"""A Ray cluster of two nodes here: the file and the fit of one process, though a node is lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from _folders import fill, same, until
from _ray import Nodes, ray_nodes
from earsight.features import read_features
from earsight.library.extract import extract

QUICK = {"audio": "log_mel", "visual": "colour_edges"}
HOW = ("--audio", "log_mel", "--visual", "colour_edges")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with ray_nodes() as nodes:
        yield nodes


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    cluster.restore()
    return cluster


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "clips"
    fill(folder, [f"{colour}/{number}.mp4" for colour in ("red", "blue") for number in range(5)])
    shutil.copy(folder / "red/0.mp4", folder / "blue/a copy.mp4")
    (folder / "red" / "text.mp4").write_text("This is no film.")
    return folder


def start(nodes: Nodes, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "earsight", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=nodes.environment,
    )


def on(nodes: Nodes) -> tuple[str, str, str, str]:
    return ("--engine", "ray", "--address", nodes.address)


def test_a_node_is_killed_and_the_file_is_that_of_one_process(
    nodes: Nodes, clips: Path, tmp_path: Path
) -> None:
    whole = extract(clips, tmp_path / "whole.h5", QUICK, workers=1)
    output, parts = tmp_path / "f.h5", tmp_path / "f.h5.parts"
    command = ("extract", clips, "-o", output, *HOW, *on(nodes), "--parts", 6, "--json")
    running = start(nodes, *command)
    until(lambda: running.poll() is not None or any(parts.glob("*-of-6.h5")))
    nodes.kill()
    said, trouble = running.communicate(timeout=200)
    assert running.returncode == 3, trouble  # for text.mp4
    report = json.loads(said.splitlines()[0])
    assert (report["n_rows"], report["n_clips"]) == (whole.n_rows, whole.n_clips) == (11, 12)
    same(read_features(output), read_features(tmp_path / "whole.h5"))
    held = [name for part in parts.glob("*.h5") for name in np.asarray(read_features(part).ids)]
    assert sorted(held) == sorted(np.asarray(read_features(output).ids))
    assert not [path for path in parts.iterdir() if path.name.startswith(".")]
    again = start(nodes, *command[:-3], "--json")  # without --parts: they are counted
    said, trouble = again.communicate(timeout=200)
    report = json.loads(said.splitlines()[0])
    assert report["n_read"] <= 2 and report["n_rows"] == 11, trouble
