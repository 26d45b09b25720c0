"""All targets, and the one HTTP client that they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import aiohttp

import pyforward
from pyforward.config.models import Webhooks as Settings
from pyforward.feed import Feed
from pyforward.retry_after import retry_after_s
from pyforward.webhooks.signature import key_of
from pyforward.webhooks.target import Answer, Target


class Webhooks:
    """The targets of a configuration; without urls nothing runs."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets
        self._ends_at: float | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, feed: Feed) -> AsyncIterator[Webhooks]:
        """While inside, every event of the feed is delivered. On the way out what waits is given
        the time of :meth:`end_by`, if any."""
        if not settings.urls:
            yield cls([])
            return
        key = key_of(settings.secret.get_secret_value())
        async with aiohttp.ClientSession(auto_decompress=False) as http:

            async def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
                return await _post(http, url, body, headers)

            targets = [Target(url, key, settings, post) for url in settings.urls]
            tasks = [asyncio.create_task(one.run(), name="webhook") for one in targets]
            for target in targets:
                feed.attach(target)
            made = cls(targets)
            try:
                yield made
                await made._drain()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def end_by(self, at: float) -> None:
        """Whoever leaves may wait until this time of the loop's clock for what is still to go."""
        self._ends_at = at

    async def _drain(self) -> None:
        if self._ends_at is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._ends_at):
                for target in self.targets:
                    await target.wait_idle()


async def _post(
    http: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]
) -> Answer:
    """What the receiver says in its body is not read."""
    try:
        async with http.post(
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"pyforward/{pyforward.__version__}",
                **headers,
            },
            allow_redirects=False,
        ) as response:
            return Answer(response.status, retry_after_s(response.headers) or 0.0)
    except (aiohttp.ClientError, ValueError) as error:
        # A name that cannot be looked up is a ValueError.
        raise OSError(str(error)) from error
