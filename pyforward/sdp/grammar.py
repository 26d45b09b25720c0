"""Session descriptions: text to tree and back (RFC 8866).

Bounded in everything, because the text comes from strangers: bytes, lines, m-lines, digits. What is
wrong is told as :class:`~pyforward.errors.BadOffer` with the number of the line. This file knows no
attribute's meaning; :mod:`.codecs`, :mod:`.transport` and the answers do.

A crowd that comes with one browser comes with one text, but for a few lines that are each
session's own: credentials, fingerprints, candidates, SSRCs. So a text is read as its
:class:`Shape`, which has these lines without their values and is remembered, and the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pyforward.errors import BadOffer

MAX_TEXT_BYTES = 64 * 1024
MAX_LINES = 4096
MAX_MEDIA = 64
MAX_FORMATS = 128


@dataclass(frozen=True, slots=True)
class Attribute:
    """``a=name`` or ``a=name:value``. ``line`` counts from 1; 0 in what we write ourselves."""

    name: str
    value: str | None = None
    line: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"a={self.name}" if self.value is None else f"a={self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Field:
    """A line that is neither ``m=`` nor ``a=``: its letter and what follows ``=``."""

    letter: str
    value: str
    line: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.letter}={self.value}"


class Attributes:
    """The attributes of one section, in their order, found by name."""

    __slots__ = ("_by_name", "_items")

    def __init__(self, items: Sequence[Attribute] = ()) -> None:
        self._items = tuple(items)
        self._by_name = _by_name(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Attributes({list(self._items)!r})"

    def every(self, name: str) -> Sequence[Attribute]:
        """All of this name, in their order."""
        return self._by_name.get(name, ())

    def first(self, name: str) -> Attribute | None:
        """The first of this name."""
        found = self._by_name.get(name)
        return found[0] if found else None

    def value(self, name: str) -> str | None:
        """The value of the first of this name; None when there is none, or when it has no value."""
        found = self._by_name.get(name)
        return found[0].value if found else None

    def filled(self, values: Mapping[int, str]) -> Attributes:
        """The same, with these values on the lines that are a session's own."""
        if not values:
            return self
        filled = Attributes()
        filled._items = tuple(
            Attribute(item.name, values[item.line], item.line) if item.line in values else item
            for item in self._items
        )
        own = (item for item in filled._items if item.name in OWN_NAMES)
        filled._by_name = self._by_name | _by_name(own)
        return filled


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line and what belongs to it. ``formats`` are as written, usually payload types."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    attributes: Attributes = field(default_factory=Attributes)
    line: int = field(default=0, compare=False)

    @property
    def mid(self) -> str:
        """``a=mid``, or the empty string."""
        return self.attributes.value("mid") or ""

    def lines(self) -> Iterator[str]:
        """The section as text lines, without line ends."""
        yield " ".join((f"m={self.kind}", str(self.port), self.protocol, *self.formats))
        yield from map(str, self.fields)
        yield from map(str, self.attributes)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """The whole: session-level fields and attributes, then the m-lines in their order."""

    fields: tuple[Field, ...]
    attributes: Attributes = field(default_factory=Attributes)
    media: tuple[Media, ...] = ()
    _shape: Shape | None = field(default=None, compare=False, repr=False)

    @property
    def shape(self) -> Shape:
        """What it has in common with others; of what was read alone."""
        assert self._shape is not None, "it was not read"
        return self._shape

    def write(self) -> str:
        """The text, with CRLF line ends."""
        lines = [*map(str, self.fields), *map(str, self.attributes)]
        for media in self.media:
            lines.extend(media.lines())
        return "\r\n".join(lines) + "\r\n"


class Shape:
    """What the texts of a crowd have in common: one object for all of them, as long as it is
    remembered, so that what follows from it alone can be found out once. In its ``description`` the
    lines of :data:`OWN_NAMES` have empty values."""

    __slots__ = ("description",)

    def __init__(self, description: SessionDescription) -> None:
        self.description = description

    def filled(self, values: Mapping[int, str]) -> SessionDescription:
        """The description of one session, by the values of its own lines."""
        common = self.description
        fields = tuple(
            replace(item, value=values[item.line]) if item.line in values else item
            for item in common.fields
        )
        media = tuple(
            replace(item, attributes=item.attributes.filled(values)) for item in common.media
        )
        return SessionDescription(fields, common.attributes.filled(values), media, self)


OWN_NAMES = frozenset(
    ("candidate", "fingerprint", "ice-pwd", "ice-ufrag", "msid", "ssrc", "ssrc-group")
)
"""Attributes that differ between sessions of one crowd; the line ``o=`` does as well."""


def parse(text: str) -> SessionDescription:
    """The tree of a session description.

    Raises :class:`~pyforward.errors.BadOffer` with a line number. Whatever comes back writes to a
    text that parses to the same tree.
    """
    # A character is at least a byte: the cheap test first, before anything is copied.
    if len(text) > MAX_TEXT_BYTES or len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise BadOffer(f"a session description may have at most {MAX_TEXT_BYTES} bytes")
    common, values = _parted(text)
    is_usual = len(common) <= _USUAL_CHARS and common.count("\n") <= _USUAL_LINES
    return (_remembered(common) if is_usual else _read(common)).filled(values)


def number(text: str, largest: int) -> int | None:
    """A plain decimal number up to ``largest``, or None: no sign, no space, no endless digits."""
    if not _DIGITS.fullmatch(text):
        return None
    value = int(text)
    return value if value <= largest else None


# Private -----------------------------------------------------------------------------------------

_DIGITS = re.compile(r"[0-9]{1,10}")
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")  # RFC 8866 §9 token
_USUAL_NAMES = frozenset(("rtpmap", "fmtp", "rtcp-fb", "extmap", "candidate", "ssrc"))
_PROTOCOL = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~/]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OWN = re.compile(
    rf"^(o=|a=(?:{'|'.join(sorted(OWN_NAMES, reverse=True))}):)([^\r\n]*)", re.MULTILINE
)
_USUAL_CHARS, _USUAL_LINES = 16 * 1024, 512
"""What is remembered; with what is read of it, about 150 kB at most."""
_MOST_REMEMBERED = 32
_CONTROL_TOLD = "a control character stands in the line"
_SESSION_LETTERS = frozenset("vosiuepcbtrzk")
_MEDIA_LETTERS = frozenset("icbk")
_ONCE_NEEDED = "vost"


class _Section:
    """An m-line while its section is being read."""

    def __init__(self, number_: int, value: str) -> None:
        self.fields: list[Field] = []
        self.attributes: list[Attribute] = []
        self._line = number_
        parts = value.split(" ")
        if len(parts) < 4:
            raise BadOffer("an m-line needs a kind, a port, a protocol and formats", number_)
        if len(parts) - 3 > MAX_FORMATS:
            raise BadOffer(f"more than {MAX_FORMATS} formats in one m-line", number_)
        kind, port, protocol, *formats = parts
        self._kind = _matching(_TOKEN, kind, "media kind", number_)
        port_number = number(port.partition("/")[0], 65535)
        if port_number is None:
            raise BadOffer("the port of an m-line is not a number up to 65535", number_)
        self._port = port_number
        self._protocol = _matching(_PROTOCOL, protocol, "protocol", number_)
        self._formats = tuple(_matching(_TOKEN, item, "format", number_) for item in formats)

    def finish(self) -> Media:
        return Media(
            self._kind,
            self._port,
            self._protocol,
            self._formats,
            tuple(self.fields),
            Attributes(self.attributes),
            self._line,
        )


def _parted(text: str) -> tuple[str, dict[int, str]]:
    """The text without the values of lines that are a session's own, and these by the numbers of
    their lines."""
    first, *rest = _OWN.split(text)
    common, values = [first], {}
    number_ = 1 + first.count("\n")
    for name, value, more in zip(rest[0::3], rest[1::3], rest[2::3], strict=True):
        if _CONTROL.search(value):
            raise BadOffer(_CONTROL_TOLD, number_)
        values[number_] = value
        common += (name, more)
        number_ += more.count("\n")
    return "".join(common), values


def _read(text: str) -> Shape:
    """Line by line."""
    session_fields: list[Field] = []
    session_attributes: list[Attribute] = []
    media: list[Media] = []
    section: _Section | None = None
    for number_, line in _lines(text):
        letter, value = _split(number_, line)
        if letter == "m":
            if section is not None:
                media.append(section.finish())
            if len(media) + 1 > MAX_MEDIA:
                raise BadOffer(f"more than {MAX_MEDIA} m-lines", number_)
            section = _Section(number_, value)
        elif letter == "a":
            attribute = _attribute(number_, value)
            (section.attributes if section else session_attributes).append(attribute)
        else:
            _check_place(number_, letter, len(session_fields), section is not None)
            (section.fields if section else session_fields).append(Field(letter, value, number_))
    if section is not None:
        media.append(section.finish())
    _check_session(session_fields)
    attributes = Attributes(session_attributes)
    return Shape(SessionDescription(tuple(session_fields), attributes, tuple(media)))


_remembered = lru_cache(maxsize=_MOST_REMEMBERED)(_read)


def _by_name(items: Iterable[Attribute]) -> dict[str, list[Attribute]]:
    found: dict[str, list[Attribute]] = {}
    for item in items:
        found.setdefault(item.name, []).append(item)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends. The last line must be ended too: a text that stops in the
    middle of a line was cut off on its way."""
    if not text:
        raise BadOffer("the session description is empty")
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise BadOffer(f"more than {MAX_LINES} lines", MAX_LINES + 1)
    if lines.pop():
        raise BadOffer("the last line has no end; the text seems cut off", len(lines) + 1)
    # One look at the whole instead of one at each line, of which a browser sends two hundred.
    is_suspicious = _CONTROL.search(text) is not None
    for number_, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if "\r" in line or (is_suspicious and _CONTROL.search(line)):
            raise BadOffer(_CONTROL_TOLD, number_)
        yield number_, line


def _split(number_: int, line: str) -> tuple[str, str]:
    if len(line) < 2 or line[1] != "=" or not "a" <= line[0] <= "z":
        raise BadOffer("not a line of the form <letter>=<value>", number_)
    return line[0], line[2:]


def _attribute(number_: int, value: str) -> Attribute:
    name, colon, rest = value.partition(":")
    # "a=msid-semantic: WMS *" of older browsers: RFC 8866 allows no blank, everybody reads it.
    if name not in _USUAL_NAMES:
        _matching(_TOKEN, name, "attribute name", number_)
    return Attribute(name, rest if colon else None, number_)


def _check_place(number_: int, letter: str, fields_before: int, in_media: bool) -> None:
    if letter not in (_MEDIA_LETTERS if in_media else _SESSION_LETTERS):
        raise BadOffer(f"a line {letter}= has no place here", number_)
    if (letter == "v") != (fields_before == 0 and not in_media):
        raise BadOffer("a session description begins with its one line v=0", number_)


def _check_session(fields: Sequence[Field]) -> None:
    present = [item.letter for item in fields]
    for letter in _ONCE_NEEDED:
        if letter not in present:
            raise BadOffer(f"the line {letter}= is missing")
    if fields[0].value.strip() != "0":
        raise BadOffer("only version 0 of SDP is known", fields[0].line)


def _matching(pattern: re.Pattern[str], text: str, what: str, number_: int) -> str:
    if not pattern.fullmatch(text):
        raise BadOffer(f"not a {what}: {text[:40]!r}", number_)
    return text
