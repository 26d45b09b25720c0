"""Where a client that asks for permission goes, and where it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pyforward.errors import ConfigError
from tests.unit.client.site import OFFER, Site, client, created, serving, status
from tests.unit.client.world import world


@dataclass
class Permit:
    """Remembers what it was asked, and refuses one host."""

    refused: str
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str) -> None:
        self.asked.append(host)
        if host == self.refused:
            raise ConfigError(f"Not {host}.")


def elsewhere(site: Site) -> str:
    """The same server under another host."""
    return site.url("/there").replace("127.0.0.1", "127.0.0.2")


async def test_every_request_asks() -> None:
    permit = Permit("")
    async with serving(created()) as site, client(permit=permit) as signalling:
        await (await signalling.join(site.url("/whep/show"), OFFER)).delete()
    assert permit.asked == ["127.0.0.1"] * 3, "for the POST, the Location and the DELETE"


async def test_a_host_that_is_not_permitted() -> None:
    async with serving(created()) as site, client(permit=Permit("127.0.0.1")) as signalling:
        with pytest.raises(ConfigError, match=r"Not 127\.0\.0\.1"):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert site.seen == []


async def test_a_redirect_is_judged() -> None:
    async with serving() as site, client(permit=Permit("127.0.0.2")) as signalling:
        site.replies.append(status(307, Location=elsewhere(site)))
        with pytest.raises(ConfigError):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert [seen.path for seen in site.seen] == ["/whep/show"]


async def test_a_session_elsewhere_is_judged() -> None:
    async with serving() as site, client(permit=Permit("127.0.0.2")) as signalling:
        site.replies.append(created(elsewhere(site)))
        with pytest.raises(ConfigError):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert len(site.seen) == 1


async def test_candidates_are_judged_before_they_are_checked() -> None:
    async with world() as w:
        permit = Permit("198.51.100.7")
        w.sessions._permit = permit
        with pytest.raises(ConfigError, match=r"Not 198\.51\.100\.7"):
            await w.watch()
        assert permit.asked == ["192.0.2.7", "198.51.100.7"]
        assert w.engine.submitted == []
        assert len(w.site.requests("DELETE")) == 1
        w.sessions._permit = Permit("")
        await w.watch()
        assert len(w.engine.submitted) == 1
