"""Errors as problem bodies (RFC 9457). The only place that gives an error its HTTP status."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from pyforward import errors
from pyforward.control import reason_of

PROBLEM_TYPE = "application/problem+json"

_STATUS: dict[type[errors.RequestError], HTTPStatus] = {
    errors.BadRequest: HTTPStatus.BAD_REQUEST,
    errors.BadOffer: HTTPStatus.BAD_REQUEST,
    errors.Unauthorised: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.StreamNotFound: HTTPStatus.NOT_FOUND,
    errors.SessionNotFound: HTTPStatus.NOT_FOUND,
    errors.BodyTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    errors.StreamNotLive: HTTPStatus.CONFLICT,
    errors.StreamInUse: HTTPStatus.CONFLICT,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.PreconditionRequired: HTTPStatus.PRECONDITION_REQUIRED,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
}

_log = structlog.get_logger("pyforward.api")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Always `about:blank`: the status says the kind.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong, in a sentence for people.")
    code: str = Field(description="What is wrong, for programs.", pattern="^[a-z_]+$")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into a problem body."""
    try:
        return await handler(request)
    except errors.RequestError as error:
        return of_error(error)
    except web.HTTPException as error:
        return error if error.status < 400 else of_http_exception(request, error)
    except Exception:
        _log.exception("request_failed", method=request.method, route=route_of(request))
        return response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong here, not in the request. The log tells more.",
        )


def status_of(kind: type[errors.RequestError]) -> HTTPStatus:
    """The status of an answer to requests that are refused so."""
    return next(_STATUS[one] for one in kind.__mro__ if one in _STATUS)


def of_error(error: errors.RequestError) -> web.Response:
    """The answer to a request that is refused."""
    status = status_of(type(error))
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, errors.Unauthorised):
        headers["WWW-Authenticate"] = 'Bearer realm="pyforward"'
    return response(status, reason_of(error), error.detail, headers, error.extra)


def response(
    status: HTTPStatus,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> web.Response:
    """A problem body. ``code`` is for programs, ``detail`` for people."""
    body = {
        **(extra or {}),
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": _sentence(detail),
        "code": code,
    }
    return web.Response(
        status=status.value,
        body=json.dumps(body).encode(),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


def of_http_exception(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """The answer to what aiohttp itself refuses: no such route, method or expectation."""
    headers: dict[str, str] = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        return response(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            f"{request.method} does nothing here; this resource takes {allowed}.",
            headers,
        )
    if isinstance(error, web.HTTPNotFound):
        detail = (
            "There is nothing at this address. Streams are at /whip/{stream} and /whep/{stream}."
        )
        return response(HTTPStatus.NOT_FOUND, "not_found", detail)
    status = HTTPStatus(error.status)
    return response(status, status.name.lower(), f"{status.description or status.phrase}.")


def route_of(request: web.BaseRequest) -> str:
    """The path with placeholders, so that no log line holds the secret of a session's URL."""
    # Not by the property, which asserts: what could not be read was never matched to a route.
    match_info = getattr(request, "_match_info", None)
    resource = match_info.route.resource if match_info is not None else None
    return str(resource.canonical) if resource is not None else "(none)"


def _sentence(text: str) -> str:
    """Readers of grammars report in clauses; a person is told in sentences."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ">")) else ".")
