"""The API's own schema, fuzzed: whatever is asked, the server answers and is never at fault."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from _server import Served, serving
from earsight.web import desktop

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("fuzzed") / "clips"))
    with pytest.MonkeyPatch.context() as patched, serving(folder) as server:
        patched.setattr(desktop, "launch", lambda _: None)  # no window is opened
        server.until("/api/library", lambda found: found["space"] == "words")
        yield server


def operations(served: Served) -> list[Any]:
    schema = schemathesis.openapi.from_dict(served.get("/openapi.json").json)
    return [result.ok() for result in schema.get_all_operations()]


def takes_anything(operation: Any) -> bool:
    raw = operation.definition.raw
    return bool(raw.get("parameters") or raw.get("requestBody"))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_operation_fails(served: Served, mode: GenerationMode) -> None:
    asked = 0
    found = operations(served)
    assert len(found) >= 17
    for operation in found:
        if mode is GenerationMode.NEGATIVE and not takes_anything(operation):
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=12,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            if mode is GenerationMode.POSITIVE and "id" in case.path_parameters:
                case.path_parameters["id"] = 1 + case.path_parameters["id"] % 9  # a clip there is
            response = case.call(base_url=f"http://127.0.0.1:{served.port}", timeout=120)
            case.validate_response(response, checks=CHECKS)

        ask()
    assert asked > 60
