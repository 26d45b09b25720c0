"""Joining another server by WHIP or WHEP (RFC 9725 §4, draft-ietf-wish-whep-03 §4): one POST for an
answer, PATCH for what trickles, DELETE at the end.

Whoever goes away in the middle of a join leaves nothing behind: the answer that still comes is
waited for, and its session deleted. ICE servers that an answer names in Link headers are not read;
nothing here would use them.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Final, TypeVar

import aiohttp
from yarl import URL

from pyforward.client.exchange import Exchange, Permit, Reply, Trust, where
from pyforward.client.home import Home, endpoint
from pyforward.errors import BadAnswer, NotYet, Refused, RemoteError
from pyforward.retry_after import retry_after_s

SDP_TYPE: Final = "application/sdp"
FRAGMENT_TYPE: Final = "application/trickle-ice-sdpfrag"

MAX_REDIRECTS: Final = 5
TIME_LIMIT_S: Final = 20.0
"""Of one POST or PATCH: a server that gathers candidates first takes seconds."""
LEAVE_LIMIT_S: Final = 5.0
"""Of one DELETE, and of the end of a whole signalling: a server that hangs holds up nobody's
leaving."""
LEAST_WAIT_S: Final = 0.5
JITTER: Final = 0.25
"""Waits are prolonged by up to this part, so that those sent away together do not return so."""

T = TypeVar("T")


class Signalling:
    """Joins, with the same token and headers for all. Use it as ``async with``, inside the HTTP
    session's: its end waits for what is still being deleted."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: Trust = True,
        patience_s: float = 0.0,
        time_limit_s: float = TIME_LIMIT_S,
        leave_limit_s: float = LEAVE_LIMIT_S,
        permit: Permit | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``token`` is a bearer token. It and ``headers`` go to the origin that is joined and to no
        other. ``patience_s`` is how long a join may wait in all for a server that asks to come
        again later; ``time_limit_s`` bounds each POST and PATCH, ``leave_limit_s`` each DELETE and
        :meth:`close`. ``permit`` judges each host that is asked, wherever the server leads."""
        self._exchange = Exchange(http, ssl, permit)
        self._token = token
        self._headers = dict(headers or {})
        self._patience_s = patience_s
        self._time_limit_s = time_limit_s
        self._leave_limit_s = leave_limit_s
        self._rng = rng if rng is not None else random.Random()
        self._clock = clock
        self._sleep = sleep
        self._leaving: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Signalling:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for joins that were given up, and for what is being deleted; what takes longer than
        the limit is left to the server's own patience."""
        try:
            async with asyncio.timeout(self._leave_limit_s):
                while self._leaving:
                    await asyncio.wait(set(self._leaving))
        except TimeoutError:
            for task in self._leaving:
                task.cancel()
            await asyncio.wait(set(self._leaving))

    async def join(self, url: str, offer_text: str) -> Resource:
        """Posts the offer, and comes again where the server asks for it and patience lasts.

        Raises ConfigError for what is no address, or none that is permitted, and of
        :class:`~pyforward.errors.RemoteError` Unreachable, Refused with the status, NotYet, and
        BadAnswer for an answer that breaks RFC 9725. The answer itself is still to be judged.
        """
        first, home = endpoint(url, self._token, self._headers)
        deadline = self._clock() + self._patience_s
        while True:
            outcome = await self._post(first, home, offer_text)
            if isinstance(outcome, Resource):
                return outcome
            await self._wait(outcome, deadline)

    async def _post(self, first: URL, home: Home, offer_text: str) -> Resource | Reply:
        """One try, through redirects that keep the method (RFC 9725 §4.5, RFC 9110 §15.4.8)."""
        url = first
        visited = {first}
        while True:
            outcome = await self._unbroken(self._attempt(url, home, offer_text))
            if isinstance(outcome, Resource) or outcome.status not in (307, 308):
                return outcome
            url = _redirected(outcome)
            if url in visited or len(visited) > MAX_REDIRECTS:
                raise BadAnswer(
                    f"{where(first)} leads nowhere: it redirects in a circle, or more than "
                    f"{MAX_REDIRECTS} times."
                )
            visited.add(url)

    async def _attempt(self, url: URL, home: Home, offer_text: str) -> Resource | Reply:
        """One POST. A 201 is a resource from here on: used, or deleted."""
        headers = {**home.headers_for(url), "Content-Type": SDP_TYPE}
        posted_s = asyncio.get_running_loop().time()
        reply = await self._exchange.ask(
            "POST", url, headers, offer_text, time_limit_s=self._time_limit_s
        )
        if reply.status != 201:
            return reply
        location = _location(reply)
        if location is None:
            raise BadAnswer(
                f"{reply.where} created a session without a usable Location for it, "
                "so it could never be ended."
            )
        self._exchange.check(location)
        answer, trouble = _answer(reply)
        resource = Resource(self, home, location, answer, _etag(reply), posted_s)
        if trouble:
            await resource.delete()
            raise BadAnswer(f"The answer of {reply.where} {trouble}.")
        return resource

    async def _unbroken(
        self, attempt: Coroutine[object, object, Resource | Reply]
    ) -> Resource | Reply:
        task = asyncio.create_task(attempt)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._keep(_undo(task))
            raise

    async def _wait(self, reply: Reply, deadline: float) -> None:
        """Waits as long as the server asks for, or raises."""
        sentence = reply.sentence()
        if 200 <= reply.status < 300:
            raise BadAnswer(f"{sentence} A session begins with 201 Created.")
        asked_s = retry_after_s(reply.headers) if reply.status in _WORTH_WAITING else None
        if asked_s is None:
            raise Refused(sentence, reply.status)
        least_s = max(asked_s, LEAST_WAIT_S)
        left_s = deadline - self._clock()
        if least_s > left_s:
            raise NotYet(
                f"{sentence} It asks to come again in {asked_s:g} s, "
                f"past the {self._patience_s:g} s that were to be waited in all.",
                reply.status,
            )
        await self._sleep(min(least_s * (1 + JITTER * self._rng.random()), left_s))

    def _keep(self, work: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Runs to its end whatever happens to whoever began it."""
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task


class Resource:
    """A session on the server. ``answer`` is the text of its answer, unjudged; ``etag`` its present
    entity tag, if it has one; ``posted_s`` when the offer that it answers was sent, by the loop's
    clock. The URL is a capability and is never shown."""

    def __init__(
        self,
        signalling: Signalling,
        home: Home,
        url: URL,
        answer: str,
        etag: str | None,
        posted_s: float,
    ) -> None:
        self.url = url
        self.answer = answer
        self.etag = etag
        self.posted_s = posted_s
        self._signalling = signalling
        self._home = home
        self._deletion: asyncio.Task[bool] | None = None

    async def patch(self, fragment: str) -> bool:
        """Sends a trickle fragment (RFC 9725 §4.3.2); False where the server takes none. Raises
        Unreachable, and Refused when the session is gone or has another state."""
        headers = {**self._home.headers_for(self.url), "Content-Type": FRAGMENT_TYPE}
        if self.etag is not None:
            headers["If-Match"] = self.etag
        signalling = self._signalling
        reply = await signalling._exchange.ask(
            "PATCH", self.url, headers, fragment, time_limit_s=signalling._time_limit_s
        )
        if reply.status in (200, 204):
            self.etag = _etag(reply) or self.etag
            return True
        if reply.status in _TAKES_NO_FRAGMENTS:
            return False
        raise Refused(reply.sentence(), reply.status)

    async def delete(self) -> bool:
        """Ends the session (RFC 9725 §4.2); True when the server says that it is gone. Done once,
        finished even if the caller is cancelled, never raises, bounded in time."""
        if self._deletion is None:
            self._deletion = self._signalling._keep(self._delete())
        return await asyncio.shield(self._deletion)

    async def _delete(self) -> bool:
        try:
            reply = await self._signalling._exchange.ask(
                "DELETE",
                self.url,
                self._home.headers_for(self.url),
                time_limit_s=self._signalling._leave_limit_s,
            )
        except RemoteError:
            return False
        return 200 <= reply.status < 300 or reply.status in (404, 410)


# Private -----------------------------------------------------------------------------------------

_WORTH_WAITING = frozenset((404, 409, 429, 503))
_TAKES_NO_FRAGMENTS = frozenset((405, 415, 422, 501))
# RFC 9110 §8.8.3, and the bare "*" of MediaMTX.
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"|\*')


async def _undo(attempt: asyncio.Task[Resource | Reply]) -> None:
    """Whoever wanted the session is gone."""
    try:
        outcome = await attempt
    except RemoteError:
        return
    if isinstance(outcome, Resource):
        await outcome.delete()


def _redirected(reply: Reply) -> URL:
    target = _location(reply)
    if target is None:
        raise BadAnswer(f"{reply.where} redirects without saying where to.")
    if reply.url.scheme == "https" and target.scheme != "https":
        raise BadAnswer(f"{reply.where} redirects to {where(target)}, which is not encrypted.")
    return target


def _location(reply: Reply) -> URL | None:
    """The Location, resolved against the URL that was asked (RFC 9110 §10.2.2)."""
    text = reply.headers.get("Location", "").strip()
    try:
        url = reply.url.join(URL(text))
        usable = bool(text) and url.scheme in ("http", "https") and bool(url.host)
        # Names and passwords in it would be sent to whoever wrote it.
        return url.with_user(None).with_fragment(None) if usable and url.origin() else None
    except ValueError:
        return None


def _answer(reply: Reply) -> tuple[str, str]:
    """The answer's text, or what is wrong with it."""
    if reply.trouble:
        return "", reply.trouble
    if reply.content_type != SDP_TYPE:
        return "", f"is no {SDP_TYPE}"
    try:
        return reply.body.decode(), ""
    except UnicodeDecodeError:
        return "", "is no UTF-8 text"


def _etag(reply: Reply) -> str | None:
    text = reply.headers.get("ETag", "")
    return text if _ETAG.fullmatch(text) else None
