"""What is written into offers and answers alike: formats, the head of a session, tokens, SSRCs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from pyforward.sdp.codecs import OfferedFormat
from pyforward.sdp.grammar import Attribute, Field


@dataclass(frozen=True, slots=True)
class WrittenFormat:
    """A format as it is offered or accepted: ``fmtp`` and ``feedback`` as they shall stand."""

    offered: OfferedFormat
    fmtp: str
    feedback: Sequence[str]
    rtx_payload_type: int | None

    def payload_types(self) -> Iterator[str]:
        """As the m-line lists them."""
        yield str(self.offered.payload_type)
        if self.rtx_payload_type is not None:
            yield str(self.rtx_payload_type)

    def attributes(self) -> Iterator[Attribute]:
        """rtpmap, rtcp-fb and fmtp of the codec, then of its retransmissions."""
        payload_type = self.offered.payload_type
        yield Attribute("rtpmap", f"{payload_type} {self.offered.encoding}")
        for item in self.feedback:
            yield Attribute("rtcp-fb", f"{payload_type} {item}")
        if self.fmtp:
            yield Attribute("fmtp", f"{payload_type} {self.fmtp}")
        if self.rtx_payload_type is not None:
            yield Attribute("rtpmap", f"{self.rtx_payload_type} rtx/{self.offered.clock_rate}")
            yield Attribute("fmtp", f"{self.rtx_payload_type} apt={payload_type}")


def session_fields() -> tuple[Field, ...]:
    """The lines before the attributes, with a fresh session id (RFC 9429 §5.2.1)."""
    return (
        Field("v", "0"),
        # The address of o= is nobody's business and nobody's need (RFC 8828 §5.2).
        Field("o", f"- {secrets.randbits(62)} 1 IN IP4 0.0.0.0"),
        Field("s", "-"),
        Field("t", "0 0"),
    )


def new_ssrc(taken: Container[int | None]) -> int:
    """A random SSRC, never 0 (RFC 3550 §8.1), not among ``taken``."""
    while True:
        ssrc = secrets.randbits(32)
        if ssrc != 0 and ssrc not in taken:
            return ssrc


def msid_token(text: str) -> str:
    """A stream's name as an msid identifier (RFC 8830 §2)."""
    token = _NOT_IN_MSID.sub("-", text)[:_MSID_CHARS]
    return token if token.strip("-") else "pyforward"


# Private -----------------------------------------------------------------------------------------

_NOT_IN_MSID = re.compile(r"[^!#$%&'*+\-.0-9A-Za-z^_`{|}~]")
_MSID_CHARS = 64
