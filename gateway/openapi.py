"""OpenAPI 3.1 from the table of contents: `python -m gateway.openapi > docs/openapi.json`."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from executors.identity import VERSION
from gateway.operation import Operation
from gateway.problems import PROBLEMS, Problem
from gateway.query import MAX_WAIT
from gateway.routes import OPERATIONS
from gateway.scopes import scope_of
from tasks.command import Verb

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
#: What any address may answer; `headers-too-large` and garbage are refused before an address is known.
_EVERYWHERE = (
    "malformed-request",
    "unauthorized",
    "too-many-failures",
    "forbidden",
    "missing-scope",
    "misdirected-request",
    "internal-error",
)
_OPEN = ("/livez", "/readyz")

_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "Idempotency-Key": {
        "description": "The same key with the same body is the same job, with another body a 422",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "example": "order-4711",
    },
    "Prefer": {
        "description": f"`wait=N`: answer when the job has ended, at the latest after N seconds (at most {MAX_WAIT:g})",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "If-None-Match": {"description": "An ETag: 304 if nothing has changed", "schema": {"type": "string"}},
    "Last-Event-ID": {"description": "The last event seen: the stream goes on after it", "schema": {"type": "string"}},
}
_PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "id": {"description": "The job's id", "schema": {"type": "string", "format": "uuid"}},
    "task_id": {"description": "The job's id", "schema": {"type": "string", "format": "uuid"}},
    "queue": {"description": "The queue's name", "schema": {"type": "string"}},
    "bulk_id": {"description": "The bulk action's id", "schema": {"type": "string", "format": "uuid"}},
    "schedule": {"description": "The schedule's id or name", "schema": {"type": "string", "maxLength": 80}},
    "worker": {"description": "A worker's name, or `all`", "schema": {"type": "string"}},
    "verb": {"description": "What it is to do", "schema": {"type": "string", "enum": list(Verb)}},
    "name": {"description": "The task's name", "schema": {"type": "string"}},
}
_ANY: Mapping[str, Any] = {"schema": {"type": "string", "minLength": 1}}
_ANSWER_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "location": {"description": "Where the job can be read", "schema": {"type": "string"}},
}


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document."""
    operations = list(operations)
    kinds = _kinds(operations)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Jobgate", "version": VERSION, "summary": "Durable background jobs over HTTP"},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: _closed(schema) for name, schema in components.items() if not name.endswith("Query")},
            "responses": {kind: _described(title) for kind, (_, title) in PROBLEMS.items()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def with_names(document: Mapping[str, Any], tasks: Iterable[str], queues: Iterable[str]) -> dict[str, Any]:
    """The document of one deployment: it lists the tasks and queues that are known there."""
    named: dict[str, Any] = copy.deepcopy(dict(document))
    fields = named["components"]["schemas"]["Submission"]["properties"]
    fields["task"] = {"type": "string", "enum": sorted(tasks)}
    fields["queue"] = {"anyOf": [{"type": "string", "enum": sorted(queues)}, {"type": "null"}], "default": None}
    return named


def encoded(document: Mapping[str, Any]) -> bytes:
    """As it is committed: indented, so that changes can be read."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _kinds(operations: Sequence[Operation]) -> list[Any]:
    found: dict[str, Any] = {repr(Problem): Problem}
    for operation in operations:
        for kind in (*operation.answers.values(), operation.query, operation.body):
            if kind is not None and not isinstance(kind, str):
                found[repr(kind)] = kind
    return list(found.values())


def _operation(operation: Operation, schema_of: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *_path_parameters(operation),
            *_query(operation, schema_of, components),
            *_header_parameters(operation),
        ],
        "responses": {**_answers(operation, schema_of), **_problems(operation)},
    }
    if operation.body is not None:
        content = {"schema": schema_of[repr(operation.body)]}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    described["security"] = [] if operation.path in _OPEN else [{}, {"key": [scope_of(operation)]}]
    return described


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = _PARAMETER.findall(operation.path)
    return [{"name": name, "in": "path", "required": True, **_PATH_PARAMETERS.get(name, _ANY)} for name in names]


def _query(operation: Operation, schema_of: Mapping[str, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    name = schema_of[repr(operation.query)]["$ref"].rpartition("/")[2]
    properties = components[name]["properties"]
    return [_query_parameter(name, dict(schema)) for name, schema in properties.items()]


def _query_parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    # Null cannot be said in a query, and an absent parameter needs no default to be described.
    options = [option for option in schema.pop("anyOf", []) if option != {"type": "null"}]
    if schema.get("default", ...) is None:
        del schema["default"]
    if schema.get("default") == []:
        del schema["default"]
    merged = {**schema, **(options[0] if options else {})}
    described = {"description": merged.pop("description")} if "description" in merged else {}
    return {"name": name, "in": "query", **described, "schema": merged}


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", **_HEADERS[name]} for name in operation.headers]


def _answers(operation: Operation, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    answers = {str(status): _answer(status, kind, schema_of) for status, kind in operation.answers.items()}
    if "If-None-Match" in operation.headers:
        answers["304"] = {"description": "Nothing has changed"}
    return answers


def _answer(status: int, kind: Any, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    media_type = kind if isinstance(kind, str) else "application/json"
    if kind is None:
        return {"description": HTTPStatus(status).phrase}
    schema = {"type": "string"} if isinstance(kind, str) else schema_of[repr(kind)]
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": {media_type: {"schema": schema}}}
    return answer


def _problems(operation: Operation) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    # A control character in an open part of the path is refused before the endpoint is asked.
    everywhere = (*_EVERYWHERE, "not-found") if "{" in operation.path else _EVERYWHERE
    for kind in (*operation.problems, *everywhere):
        by_status.setdefault(str(PROBLEMS[kind][0]), []).append(kind)
    return {status: _problem(list(dict.fromkeys(kinds))) for status, kinds in sorted(by_status.items())}


def _problem(kinds: Sequence[str]) -> dict[str, Any]:
    if len(kinds) == 1:
        return {"$ref": f"#/components/responses/{kinds[0]}"}
    return _described(" · ".join(f"`{kind}`: {PROBLEMS[kind][1]}" for kind in kinds))


def _described(words: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {"description": words, "content": content}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """msgspec titles each schema with its own name, which says nothing new."""
    return {name: value for name, value in schema.items() if name != "title"}


if __name__ == "__main__":
    sys.stdout.buffer.write(encoded(describe(OPERATIONS)))
