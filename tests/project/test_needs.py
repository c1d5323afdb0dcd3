"""Tests are marked by what they use: `make test-fast` leaves out what needs much."""

from pathlib import Path

import pytest

from _needs import HERE, left_out, needs, networks

TESTS = HERE.parent
FAST = "not browser and not network and not slow"


@pytest.mark.parametrize(
    ("file", "fixtures", "expected"),
    [
        ("test_metrics.py", set(), set()),
        ("test_metrics.py", {"browser"}, {"browser"}),
        ("test_metrics.py", {"made", "s3"}, {"slow", "network"}),
        (next((TESTS / "distributed").glob("test_*.py")), set(), {"network"}),
        ("project/test_docs.py", set(), {"slow"}),  # starts commands
    ],
)
def test_what_a_test_needs(file: str | Path, fixtures: set[str], expected: set[str]) -> None:
    assert needs(TESTS / file, fixtures) >= expected
    if not expected:
        assert needs(TESTS / file, fixtures) == set()


def test_a_doctest_of_the_source_needs_nothing() -> None:
    assert needs(TESTS.parent / "src" / "earsight" / "metrics.py", set()) == set()


def test_methods_with_networks_are_found() -> None:
    assert {"tnn", "dcca"} <= networks() and not {"cca", "concord"} & networks()


def test_a_file_is_left_out_only_where_the_expression_says_so() -> None:
    assert left_out(TESTS / "project" / "test_docs.py", FAST)
    assert not left_out(TESTS / "project" / "test_docs.py", "not long")
    assert not left_out(TESTS / "test_metrics.py", FAST)
    assert not left_out(Path(__file__).with_name("conftest.py"), FAST)
