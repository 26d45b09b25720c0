"""Fixtures of more than one file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.signalling.site import Site, site
from tests.unit.signalling.world import World, running


@pytest_asyncio.fixture
async def plain() -> AsyncIterator[Site]:
    async with site() as opened:
        yield opened


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world
