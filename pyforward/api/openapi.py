"""The OpenAPI 3.1 document, made from the operations and the models that they answer with."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import pyforward
from pyforward.api.operations import ALWAYS, EVENT_STREAM, OPERATIONS, Operation, Parameter, Query
from pyforward.api.problem import PROBLEM_TYPE, Problem, status_of
from pyforward.control import Figures
from pyforward.errors import Overloaded, RequestError
from pyforward.feed import EVENTS, Missed

PATH = "/api/openapi.json"

_REF = "#/components/schemas/{model}"

ON_THE_STREAM: tuple[type[BaseModel], ...] = (*EVENTS, Missed, Figures)
"""What ``data`` may be on a stream of events."""

_ABOUT = (
    "Streams, viewers and events of one pyforward server. Requests carry the admin token "
    "(`auth.admin_token`) as a bearer token; without one the server answers its own machine alone. "
    "Errors are problem bodies (RFC 9457). Fields may be added; those that are here stay."
)


def document() -> dict[str, Any]:
    """The document; it is the same for every server of this version."""
    schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pyforward",
            "version": pyforward.__version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "admin": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The setting `auth.admin_token`.",
                }
            },
        },
        "security": [{"admin": []}, {}],
    }


# Private -----------------------------------------------------------------------------------------


def _schemas() -> dict[str, Any]:
    answers = [one.answer for one in OPERATIONS if one.answer is not None]
    models: list[type[BaseModel]] = list(dict.fromkeys([*answers, *ON_THE_STREAM, Problem]))
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_REF
    )
    found: dict[str, Any] = definitions["$defs"]
    return found


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            "200": _success(operation),
            **_refusals((*ALWAYS, *operation.refusals)),
        },
    }
    if operation.description:
        told["description"] = operation.description
    parameters = [_parameter(one) for one in operation.parameters]
    parameters += _query(operation.query) if operation.query is not None else []
    if parameters:
        told["parameters"] = parameters
    return told


def _success(operation: Operation) -> dict[str, Any]:
    if operation.answer is not None:
        schema: dict[str, Any] = _reference(operation.answer)
        content_type = "application/json"
    else:
        events = ", ".join(f"`{_kind(model)}`" for model in ON_THE_STREAM)
        schema = {
            "type": "string",
            "description": f"Server-sent events. Their `data` is one of {events}, "
            "each of which has its schema here.",
        }
        content_type = EVENT_STREAM
    return {
        "description": operation.summary + ".",
        "content": {content_type: {"schema": schema}},
    }


def _refusals(kinds: tuple[type[RequestError], ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for kind in sorted(kinds, key=status_of):
        told: dict[str, Any] = {
            "description": " ".join((kind.__doc__ or "").split()),
            "content": {PROBLEM_TYPE: {"schema": _reference(Problem)}},
        }
        if kind is Overloaded:
            told["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which asking again may help.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
        responses[str(status_of(kind).value)] = told
    return responses


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "required": parameter.place == "path",
        "schema": parameter.schema,
    }


def _query(model: type[Query]) -> list[dict[str, Any]]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "description": schema["description"],
            "required": False,
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is absent is not null: there is no way to write that."""
    kept = {k: v for k, v in schema.items() if k not in ("description", "title")}
    if "anyOf" in kept:
        (only,) = [one for one in kept.pop("anyOf") if one.get("type") != "null"]
        kept |= only
    if kept.get("default", math.nan) is None:
        del kept["default"]
    return kept


def _kind(model: type[BaseModel]) -> str:
    return str(model.model_fields["kind"].default)


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
