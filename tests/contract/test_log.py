"""Each entry of the log is declared with its level and fields, and each declared one exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from pyforward.commands import CloseReason
from pyforward.config import settings
from pyforward.control import reason_of
from pyforward.control.chronicle import EndReason
from pyforward.dtls import POOL_FAILURES
from pyforward.errors import RequestError
from pyforward.log.catalog import CATALOG, FIELDS, REASONS, SESSION, by_name, markdown
from tests.contract.house import PACKAGE, ROOT, name_of

LEVELS = {"debug", "info", "warning", "error", "exception"}
IN_THE_CLIENT_ROLE = "pyforward/client/"


@dataclass(frozen=True)
class Call:
    """One call of a logger."""

    where: str
    name: str
    level: str
    fields: frozenset[str]


def calls() -> Iterator[Call]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[first, *_]
                ) if level in LEVELS:
                    where = f"{name_of(path)}:{node.lineno}"
                    assert isinstance(first, ast.Constant), f"{where}: a name that is made"
                    fields = frozenset(_fields(node, level))
                    yield Call(where, str(first.value), level.replace("exception", "error"), fields)


def _fields(node: ast.Call, level: str) -> Iterator[str]:
    if level == "exception":
        yield "exception"
    for keyword in node.keywords:
        match keyword:
            case ast.keyword(arg="exc_info"):
                yield "exception"
            case ast.keyword(arg=str(name)):
                yield name
            case ast.keyword(value=ast.Call(func=ast.Name(id="named"))):
                yield from SESSION
            case _:
                raise AssertionError(f"{ast.unparse(node)}: fields that cannot be read")


CALLS = list(calls())


def test_there_is_something_to_check() -> None:
    assert len(CALLS) > 20


def test_every_call_is_declared() -> None:
    unknown = [call for call in CALLS if call.name not in by_name()]
    assert unknown == []


def test_levels_and_fields_are_those_declared() -> None:
    for call in CALLS:
        if call.where.startswith(IN_THE_CLIENT_ROLE):
            continue  # a client tells less: it has no books
        entry = by_name()[call.name]
        assert call.level == entry.level, call
        assert set(entry.fields) <= call.fields, call
        assert call.fields <= FIELDS.keys(), call


def test_everything_declared_is_written_somewhere() -> None:
    assert {entry.name for entry in CATALOG} - {call.name for call in CALLS} == set()
    assert {field for entry in CATALOG for field in entry.fields} <= FIELDS.keys()
    assert FIELDS.keys() <= {field for call in CALLS for field in call.fields}


def documented(entry: str) -> set[str]:
    """What the reason of such an entry may say."""
    (found,) = [set(one.words) for one in REASONS if entry in one.entries]
    return found


def test_every_entry_with_a_reason_says_which_there_are() -> None:
    declared = {
        (entry.name, field)
        for entry in CATALOG
        for field in entry.fields
        if field in ("reason", "failure")
    }
    assert {(name, one.field) for one in REASONS for name in one.entries} == declared
    assert sum(len(one.entries) for one in REASONS) == len(declared)


def test_reasons_are_those_of_the_code() -> None:
    assert documented("session_closed") == set(get_args(CloseReason))
    assert documented("stream_ended") == set(get_args(EndReason))
    assert documented("dtls_ended") == set(POOL_FAILURES)
    # Errors of requests that are about a session that is there, and no joins.
    of_sessions = {"session_not_found", "precondition_failed", "precondition_required"}
    refusals = {reason_of(error) for error in request_errors(RequestError)}
    assert documented("join_refused") == refusals - of_sessions


def request_errors(kind: type[RequestError]) -> Iterator[RequestError]:
    """One of each, without what its sentence needs."""
    for error in kind.__subclasses__():
        yield error.__new__(error)
        yield from request_errors(error)


def test_reasons_that_are_written_in_place_are_those_of_the_code() -> None:
    events = (PACKAGE / "api" / "events.py").read_text()
    told = re.findall(r'_drop\(request, "([^"]+)"\)', events)
    assert documented("listener_dropped") == set(told)
    unread = (PACKAGE / "api" / "unread.py").read_text()
    assert documented("reader_dropped") == set(re.findall(r'"(it [^"]+)"', unread))
    target = (PACKAGE / "webhooks" / "target.py").read_text()
    told = re.findall(r'return f?"([a-z_]+)(?:\{[^}]*\})?", ', target)
    assert {word.rstrip("…") for word in documented("webhook_failed")} == set(told)
    assert documented("webhook_dropped") == set(re.findall(r'reason="(\w+)"', target))


def test_settings_that_reasons_name_exist() -> None:
    meanings = " ".join(meaning for one in REASONS for meaning in one.words.values())
    named = set(re.findall(r"`(\w+\.\w+)`", meanings))
    assert named
    assert named <= {setting.name for setting in settings()}


def test_names_are_of_one_kind() -> None:
    assert len(by_name()) == len(CATALOG)
    for entry in CATALOG:
        assert entry.name.isidentifier(), entry
        assert entry.name.islower(), entry
        assert entry.meaning.endswith("."), entry


def test_the_document_is_the_catalog() -> None:
    again = "python -m pyforward.log docs/operate/logs.md"
    assert (ROOT / "docs" / "operate" / "logs.md").read_text() == markdown(), f"run: {again}"
