"""The description is committed, true and complete."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from executors.identity import VERSION
from gateway.openapi import describe, encoded
from gateway.operation import Operation
from gateway.problems import PROBLEMS
from gateway.routes import OPERATIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_committed_description_is_the_codes_own() -> None:
    assert (DOCS / "openapi.json").read_bytes() == encoded(describe(OPERATIONS)), "run `make openapi`"


def test_the_version_is_the_packages_own() -> None:
    assert tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.id for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.id for operation in OPERATIONS])
def test_every_reference_leads_somewhere(operation: Operation) -> None:
    document: Any = describe(OPERATIONS)
    for found in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document["paths"][operation.path])):
        place = document
        for part in found.split("/"):
            place = place[part]


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_problem_is_explained(kind: str) -> None:
    assert f"`{kind}`" in (DOCS / "http.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("operation", OPERATIONS, ids=[operation.id for operation in OPERATIONS])
def test_every_address_is_explained(operation: Operation) -> None:
    assert operation.path.partition("{")[0] in (DOCS / "http.md").read_text(encoding="utf-8")
