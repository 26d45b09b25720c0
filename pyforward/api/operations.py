"""The API of operators, declared once: each operation with its parameters, its answer and the ways
in which it is refused. Routes, checks of what a request asks and the OpenAPI document follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pyforward.control import Order, Page, ServerFigures, StreamFigures, ViewerFigures
from pyforward.errors import (
    BadRequest,
    Forbidden,
    Overloaded,
    RequestError,
    SessionNotFound,
    StreamNotFound,
    Unauthorised,
)

MAX_PAGE = 1000
DEFAULT_PAGE = 100

EVENT_STREAM = "text/event-stream"


# What a request may ask --------------------------------------------------------------------------


def _digits(value: object) -> object:
    """Only plain digits are a number here, whatever else pydantic would read as one."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 4):
        raise ValueError("a number is written in digits")
    return value


class Query(BaseModel):
    """Parameters behind the question mark. Unknown ones are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Limit = Annotated[
    int,
    # In this order, or the schema would lose the bounds.
    Field(description="The size of a page.", ge=1, le=MAX_PAGE),
    BeforeValidator(_digits),
]


class StreamsQuery(Query):
    """Which page of the streams."""

    after: str | None = Field(
        default=None, description="A cursor that an earlier page gave as `next`: a stream's name."
    )
    limit: Limit = DEFAULT_PAGE


class ViewersQuery(Query):
    """Which page of a stream's viewers."""

    after: str | None = Field(
        default=None,
        description="A cursor that an earlier page gave as `next`.",
        pattern="^[0-9]{1,18}$",
    )
    limit: Limit = DEFAULT_PAGE
    order: Order = Field(
        default="worst",
        description="`worst`: who loses most comes first. Figures change while pages are turned, "
        "so that a viewer may be seen twice or not at all. `joined`: as they joined; nobody who "
        "stays is seen twice or left out.",
    )


class EventsQuery(Query):
    """What a listener wants to hear."""

    stream: str | None = Field(
        default=None, description="Only events of this stream; with figures, those of this one."
    )
    figures: Literal["true", "false"] = Field(
        default="false",
        description="Whether a `figures` event comes once a second beside the others.",
    )
    kept: Literal["true", "false"] = Field(
        default="false",
        description="Whether the events of before that the server keeps come first "
        "(`events.kept`); without effect beside Last-Event-ID.",
    )


Q = TypeVar("Q", bound=Query)


def parsed(request: web.Request, model: type[Q]) -> Q:
    """The query of a request. Raises BadRequest with the first thing that is wrong."""
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        name = str(error.errors(include_url=False)[0]["loc"][0])
        raise BadRequest(f"{name} is wrong: {_takes(model, name)}") from None


def _takes(model: type[Query], name: str) -> str:
    if name == "limit":
        return f"a number from 1 to {MAX_PAGE}."
    return (model.model_fields[name].description or "").replace("`", "")


# What is answered --------------------------------------------------------------------------------


class StreamPage(Page[StreamFigures]):
    """A part of the streams, by name."""


class ViewerPage(Page[ViewerFigures]):
    """A part of a stream's viewers."""


class Ended(BaseModel):
    """What was ended."""

    ended: str = Field(description="The stream's name, or the session's id.")


# The operations ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the path, or a header."""

    name: str
    place: Literal["path", "header"]
    description: str
    schema: dict[str, Any]


STREAM = Parameter(
    "stream",
    "path",
    "The stream's name.",
    {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$", "examples": ["demo"]},
)
SESSION = Parameter(
    "session",
    "path",
    "The session's id, as streams, viewers, events and the log show it.",
    {"type": "string", "pattern": "^[0-9a-f]{16}$"},
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    "The id of the last event that was heard: those after it come first, as far as they are kept "
    "(`events.kept`). A `missed` event says how many are not.",
    {"type": "string", "pattern": "^[0-9a-f]{1,16}-[0-9]{1,18}$"},
)

ALWAYS: tuple[type[RequestError], ...] = (Unauthorised, Forbidden)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. ``answer`` None stands for a stream of events."""

    name: str
    method: Literal["GET", "DELETE"]
    path: str
    summary: str
    answer: type[BaseModel] | None
    query: type[Query] | None = None
    parameters: tuple[Parameter, ...] = ()
    refusals: tuple[type[RequestError], ...] = ()
    description: str = ""


OPERATIONS: tuple[Operation, ...] = (
    Operation("get_server", "GET", "/api/server", "The server at this moment", ServerFigures),
    Operation(
        "list_streams",
        "GET",
        "/api/streams",
        "Streams by name",
        StreamPage,
        query=StreamsQuery,
        refusals=(BadRequest, Overloaded),
    ),
    Operation(
        "get_stream",
        "GET",
        "/api/streams/{stream}",
        "One stream",
        StreamFigures,
        parameters=(STREAM,),
        refusals=(StreamNotFound,),
    ),
    Operation(
        "end_stream",
        "DELETE",
        "/api/streams/{stream}",
        "End a stream",
        Ended,
        parameters=(STREAM,),
        refusals=(StreamNotFound,),
        description="Its publisher and its viewers are told farewell. A declared stream stays, "
        "waiting. Nothing keeps a publisher from beginning anew.",
    ),
    Operation(
        "list_viewers",
        "GET",
        "/api/streams/{stream}/viewers",
        "A stream's viewers, the worst first",
        ViewerPage,
        query=ViewersQuery,
        parameters=(STREAM,),
        refusals=(BadRequest, StreamNotFound, Overloaded),
    ),
    Operation(
        "end_session",
        "DELETE",
        "/api/sessions/{session}",
        "End a viewer, or a publisher",
        Ended,
        parameters=(SESSION,),
        refusals=(SessionNotFound,),
        description="It is told farewell. Nothing keeps it from joining again.",
    ),
    Operation(
        "listen",
        "GET",
        "/api/events",
        "Events as they happen",
        None,
        query=EventsQuery,
        parameters=(LAST_EVENT_ID,),
        refusals=(BadRequest, Overloaded),
        description="Server-sent events. The field `event` is the event's `kind`, `data` is the "
        "event as one line of JSON, `id` goes back as Last-Event-ID. A comment comes every 15 s "
        "when nothing else does. A listener that does not read is dropped.",
    ),
)
