"""The server of the signalling tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.signalling.site import Site, site


@pytest_asyncio.fixture
async def plain() -> AsyncIterator[Site]:
    async with site() as opened:
        yield opened
