"""What feature files and kept results say of where they came from, when a stranger wrote it."""

import json
import re
from copy import deepcopy
from itertools import islice

import pytest

from _features import AUDIO, make_steps
from earsight.datasets import synthetic
from earsight.errors import FeatureFileError, InputError
from earsight.experiments.compare import Options, compare
from earsight.experiments.official import read_looks
from earsight.experiments.protocol import Protocol
from earsight.experiments.table import tables
from earsight.extraction.sharding import join
from earsight.extraction.table import Held
from earsight.features import PairedFeatures, write_features

CONTENTS = [f"{number:064x}" for number in range(6)]
RECORDS = [
    {
        **{"path": f"red/{number}.mp4", "size": 9, "mtime_ns": 9, "content": content},
        **{"status": "ok", "message": "", "seconds": 1.0, "has": ["audio"], "again": False},
    }
    for number, content in enumerate(CONTENTS)
]
FACTS = {"extractor": "log_mel", "fingerprint": "ab" * 32, "dim": 3}
PART = {"number": 1, "of": 1, "labels": "none"}


def write(path, change=lambda provenance: None, **more):
    provenance = deepcopy({"audio": FACTS, "part": PART, "clips": RECORDS})
    change(provenance)
    columns = {"ids": [r["path"] for r in RECORDS], "group": CONTENTS} | more
    steps = {"audio": make_steps([1] * 6, 3)} if "steps" not in more else more["steps"]
    columns.pop("steps", None)
    write_features(
        path, PairedFeatures({"audio": AUDIO}, **columns, steps=steps, provenance=provenance)
    )
    return path


def setter(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(provenance):
        for key in keys:
            provenance = provenance[key]
        provenance[last] = value

    return change


RECORD = ("clips", 0)
WRONG = [
    setter("clips", 3),
    setter("clips", {}),
    setter("clips", [3]),
    setter("clips", [{}]),
    setter("clips", []),
    setter(*RECORD, "path", 3),
    setter(*RECORD, "path", ""),
    setter(*RECORD, "path", "a\0b"),
    setter(*RECORD, "path", "\ud800"),
    setter(*RECORD, "size", "x"),
    setter(*RECORD, "seconds", [1]),
    setter(*RECORD, "content", "../../outside"),
    setter(*RECORD, "content", "f" * 64),
    setter(*RECORD, "status", "fine"),
    setter(*RECORD, "has", 3),
    setter(*RECORD, "has", [[]]),
    setter(*RECORD, "again", "no"),
    setter(*RECORD, "more", 1),
    setter("audio", "x"),
    setter("audio", {}),
    setter("audio", "fingerprint", [1]),
    setter("audio", "dim", 10**12),
    setter("audio", "dim", "3"),
    setter("part", 3),
    setter("part", {}),
    setter("part", "of", 10**12),
    setter("part", "of", "1"),
    setter("part", "number", 2),
    setter("part", "labels", [1]),
]


def test_a_file_that_is_sound_is_read(tmp_path):
    path = write(tmp_path / "a.h5")
    assert len(Held.open(path, {"audio": FACTS}, PART).records) == 6
    assert join([path], tmp_path / "b.h5").n_rows == 6


@pytest.mark.parametrize("change", WRONG, ids=range(len(WRONG)))
def test_a_file_that_says_something_else_is_refused(tmp_path, change):
    path = write(tmp_path / "a.npz", change)
    with pytest.raises(FeatureFileError, match=re.escape(path.name) + "|The parts hold") as error:
        join([path], tmp_path / "b.h5")
    str(error.value).encode()
    try:
        Held.open(path, {"audio": FACTS}, PART)
    except FeatureFileError as error:
        str(error).encode()


@pytest.mark.parametrize("more", [{"ids": None}, {"group": range(6)}, {"steps": {}}])
def test_columns_that_lack_are_told(tmp_path, more):
    path = write(tmp_path / "a.npz", **more)
    with pytest.raises(FeatureFileError, match="was not made by extract"):
        Held.open(path, {"audio": FACTS}, PART)


# Results


def changed(value):
    """Yield what a JSON value can be turned into, one place at a time."""
    for other in (None, 3, "x", [], {}, [[1]], {"a": None}, float("nan")):
        yield other
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            for other in changed(value[key]):
                yield {**value, key: other}


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
def test_a_result_that_was_changed_is_made_anew_or_shown(tmp_path, every):
    data, protocol, file = synthetic(60, (4, 5), 2), Protocol(folds=2, seeds=1), tmp_path / "o.json"
    compare(data, ["cca"], protocol, options=Options(json=file))
    found = json.loads(file.read_text())
    n = 0
    for record in islice(changed(found["cca"]), 0, None, every):
        file.write_text(json.dumps({"cca": record}))
        try:
            shown = compare(data, ["cca"], protocol, options=Options(json=file))
        except InputError:  # another base, or no file of results
            continue
        assert [table.markdown() for table in tables(shown)]
        n += 1
    assert n > 200 // every


@pytest.mark.parametrize(
    "line", ["3", "{}", "[" * 5000, '{"date": NaN}', '{"date": "", "method": "", "data": ""}']
)
def test_a_log_of_other_hands_is_refused(tmp_path, line):
    (tmp_path / "log").write_text(line)
    with pytest.raises(InputError, match="is not a log of official tests"):
        read_looks(tmp_path / "log")
