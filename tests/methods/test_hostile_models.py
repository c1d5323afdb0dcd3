"""Models from strangers: whatever is wrong in their files ends in an error of ours."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _hostile import KINDS, USUAL, files_of, hostile, used, written
from earsight.errors import EarsightError


def check(r: Random, folder: Path) -> None:
    _, files = hostile(r)
    try:
        used(written(files, folder))
    except EarsightError as error:
        assert len(str(error)) < 2000


@pytest.mark.parametrize("name", KINDS)
def test_a_sound_model_is_used(name: str, tmp_path: Path) -> None:
    used(written(files_of(name), tmp_path / "model"))


@settings(max_examples=50, **USUAL)
@given(r=st.randoms(use_true_random=True))
def test_a_hostile_model_ends_in_an_error_of_ours(r: Random, tmp_path_factory: Any) -> None:
    check(r, tmp_path_factory.getbasetemp() / "hostile")


@pytest.mark.long
@settings(max_examples=700, **USUAL)
@given(r=st.randoms(use_true_random=True))
def test_many_hostile_models_end_in_errors_of_ours(r: Random, tmp_path_factory: Any) -> None:
    check(r, tmp_path_factory.getbasetemp() / "hostile")
