"""Janus (Debian: janus) as a forwarder: the mountpoint of its streaming plugin, with many viewers.

The publisher is taken by a video room, as WHIP servers in front of Janus do it, whose RTP forwarder
feeds the mountpoint. It is tuned for many viewers on one core: one event loop instead of a thread
for each viewer, no other plugin, nothing logged. ICE-lite, as this server is, so that it sends no
checks.

Janus offers and its viewers answer, where WHEP has it the other way round. Of what the two have to
tell each other only the transport matters, and that looks the same in offers and answers: so
:class:`Mountpoint` answers the viewer with Janus's transport, and Janus with the viewer's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from pyforward import ice, sdp
from pyforward.errors import RunError
from pyforward_bench.rig.peers.front import Place

PORT: Final = 8088
"""Of its HTTP API, in a namespace where nobody else has it."""

VIDEO_ROOM: Final = "janus.plugin.videoroom"
STREAMING: Final = "janus.plugin.streaming"

_LIBRARIES: Final = {
    "plugins": ("libjanus_videoroom.so", "libjanus_streaming.so"),
    "transports": ("libjanus_http.so",),
}
_HERE: Final = 1
"""The room's number, and the mountpoint's."""
_RTP_PORT: Final = 5004
"""Where the one sends to the other, in the same process."""
# What viewers of this project receive H.264 under: Janus does not ask them.
_PAYLOAD_TYPE: Final = 102
_FMTP: Final = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

_READY_LIMIT_S: Final = 20.0
_ANSWER_LIMIT_S: Final = 15.0
_POLL_LIMIT_S: Final = 60.0
"""A poll that has nothing to tell is answered after 30 s."""

Told = Mapping[str, Any]


def missing() -> str | None:
    """Why it cannot be run here; None where it can."""
    if shutil.which("janus") is None or len(_libraries()) < sum(map(len, _LIBRARIES.values())):
        return "Janus is not installed; install it with: apt-get install janus"
    return None


def command(folder: Path, host: str) -> list[str]:
    """What begins it, configured in a new directory of this folder to serve at this address."""
    home = folder / "janus"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for kind in ("plugins", "transports", "events", "loggers"):
        (home / kind).mkdir()
    for library in _libraries():
        (home / library.parent.name / library.name).symlink_to(library)
    (home / "janus.jcfg").write_text(_core(home, host))
    (home / "janus.transport.http.jcfg").write_text(_http(host))
    return ["janus", f"--configs-folder={home}", "--disable-colors"]


class Api:
    """One session of Janus's HTTP API, from :meth:`open` to :meth:`close`."""

    def __init__(self, host: str) -> None:
        self._url = f"http://{f'[{host}]' if ':' in host else host}:{PORT}/janus"
        self._asked: dict[str, asyncio.Future[Told]] = {}
        self._http: aiohttp.ClientSession | None = None
        self._polling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Waits until Janus answers. Raises RunError when it does not."""
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        until = asyncio.get_running_loop().time() + _READY_LIMIT_S
        while True:
            try:
                created = await self._post(self._url, {"janus": "create"})
                break
            except aiohttp.ClientError as error:
                if asyncio.get_running_loop().time() > until:
                    raise RunError(f"Janus does not answer: {error}.") from None
                await asyncio.sleep(0.05)
        self._url += f"/{created['data']['id']}"
        self._polling = asyncio.ensure_future(self._poll())

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._polling is not None:
            self._polling.cancel()
        if self._http is not None:
            await self._http.close()

    async def attach(self, plugin: str) -> int:
        """A new handle of this plugin."""
        told = await self._post(self._url, {"janus": "attach", "plugin": plugin})
        return int(told["data"]["id"])

    async def detach(self, handle: int) -> None:
        """Its end."""
        with contextlib.suppress(aiohttp.ClientError, RunError):
            await self._post(f"{self._url}/{handle}", {"janus": "detach"})

    async def ask(self, handle: int, body: Told, jsep: Told | None = None) -> tuple[Told, str]:
        """What the plugin says, and the SDP with it, empty if there is none. Raises RunError for
        what it refuses."""
        transaction = secrets.token_hex(8)
        answer = self._asked[transaction] = asyncio.get_running_loop().create_future()
        request: dict[str, object] = {"janus": "message", "body": body}
        request |= {"jsep": jsep} if jsep is not None else {}
        try:
            told = await self._post(f"{self._url}/{handle}", request, transaction)
            if told["janus"] == "ack":  # it has only been heard, and the answer is an event
                told = await asyncio.wait_for(answer, _ANSWER_LIMIT_S)
        except TimeoutError:
            raise RunError(f"Janus did not answer {body['request']}.") from None
        finally:
            del self._asked[transaction]
        data = told["plugindata"]["data"]
        if "error" in data:
            raise RunError(f"Janus refuses {body['request']}: {data['error']}.")
        return data, told.get("jsep", {}).get("sdp", "")

    # Private -------------------------------------------------------------------------------------

    async def _post(self, url: str, request: Told, transaction: str | None = None) -> Told:
        assert self._http is not None, "it is not open"
        body = {**request, "transaction": transaction or secrets.token_hex(8)}
        async with self._http.post(url, json=body) as answer:
            told: Told = json.loads(await answer.text())
        if told["janus"] == "error":
            raise RunError(f"Janus refuses {request['janus']}: {told['error']['reason']}.")
        return told

    async def _poll(self) -> None:
        """Events of all handles, as long as it is open."""
        assert self._http is not None, "it is not open"
        limit = aiohttp.ClientTimeout(total=_POLL_LIMIT_S)
        while True:
            try:
                async with self._http.get(f"{self._url}?maxev=50", timeout=limit) as answer:
                    told = json.loads(await answer.text())
            except (aiohttp.ClientError, TimeoutError):
                return  # it has ended, and whoever waits is told so by the time
            for event in told if isinstance(told, list) else [told]:
                asked = self._asked.get(event.get("transaction", ""))
                if asked is not None and event["janus"] in ("event", "error") and not asked.done():
                    asked.set_result(event)


class Mountpoint:
    """The room, of which Janus itself runs elsewhere."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def open(self) -> None:
        """Makes what is needed in Janus. Raises RunError."""
        await self._api.open()
        room = {"request": "create", "room": _HERE, "publishers": 1, "videocodec": "h264"}
        await self._api.ask(await self._api.attach(VIDEO_ROOM), room)
        video = {
            "type": "video",
            "mid": "0",
            "port": _RTP_PORT,
            "pt": _PAYLOAD_TYPE,
            "codec": "h264",
            "fmtp": _FMTP,
        }
        mountpoint = {"request": "create", "type": "rtp", "id": _HERE, "media": [video]}
        await self._api.ask(await self._api.attach(STREAMING), mountpoint)

    async def publish(self, offer: sdp.SessionDescription) -> Place:
        handle = await self._api.attach(VIDEO_ROOM)
        joining = {"request": "join", "ptype": "publisher", "room": _HERE}
        joined, _ = await self._api.ask(handle, joining)
        offered = {"type": "offer", "sdp": offer.write()}
        published, answer = await self._api.ask(handle, {"request": "publish"}, offered)
        (mid,) = (each["mid"] for each in published["streams"] if each["type"] == "video")
        forwarding = {
            "request": "rtp_forward",
            "room": _HERE,
            "publisher_id": joined["id"],
            "host": "127.0.0.1",
            "streams": [{"mid": mid, "port": _RTP_PORT, "pt": _PAYLOAD_TYPE}],
        }
        await self._api.ask(handle, forwarding)
        return self._place(handle, answer)

    async def watch(self, offer: sdp.SessionDescription) -> Place:
        handle = await self._api.attach(STREAMING)
        _, offered = await self._api.ask(handle, {"request": "watch", "id": _HERE})
        to_viewer, to_janus = introduced(offer, offered)
        await self._api.ask(handle, {"request": "start"}, {"type": "answer", "sdp": to_janus})
        return self._place(handle, to_viewer)

    async def close(self) -> None:
        await self._api.close()

    def _place(self, handle: int, answer: str) -> Place:
        return Place(answer, lambda: self._api.detach(handle))


def introduced(viewer: sdp.SessionDescription, janus_text: str) -> tuple[str, str]:
    """The answer to a viewer's offer and the answer to Janus's, each with the transport of the
    other: Janus is ICE-lite and the client of DTLS, the viewer checks and is its server. Header
    extensions are left out. Raises RequestError for what does not fit together."""
    janus = sdp.parse(re.sub(r"a=(ice-lite|extmap:.*)\r\n", "", janus_text))
    theirs, ours = sdp.offer_transport(janus), sdp.offer_transport(viewer)
    taken = sdp.answer_publish(janus, _local(ours, "passive"), prefer=("h264",))
    answered = sdp.answer_watch(viewer, _local(theirs, "active"), taken.live, msid_stream="janus")
    to_viewer = answered.text
    for track in answered.tracks:
        (source,) = (each for each in taken.tracks if each.kind == track.kind)
        numbers = [(track.ssrc, source.ssrcs[0])]
        numbers += [(track.rtx_ssrc or 0, rtx) for _, rtx in source.rtx_ssrcs]
        for told, sent in numbers:
            to_viewer = re.sub(rf"\b{told}\b", str(sent), to_viewer)
    return to_viewer, taken.text.replace("a=ice-lite\r\n", "")


# Private -----------------------------------------------------------------------------------------


def _local(peer: sdp.PeerTransport, setup: Literal["active", "passive"]) -> sdp.LocalTransport:
    """The transport of one side, as the other is told of it."""
    candidates = ice.usable_candidates(peer.candidates)
    return sdp.LocalTransport(peer.ufrag, peer.pwd, peer.fingerprints[0], setup, candidates)


def _libraries() -> list[Path]:
    """Where Debian has them: in a directory of the architecture."""
    named = [(kind, name) for kind, names in _LIBRARIES.items() for name in names]
    found = (next(Path("/usr/lib").glob(f"*/janus/{kind}/{name}"), None) for kind, name in named)
    return [path for path in found if path is not None]


def _core(home: Path, host: str) -> str:
    # Sessions of the API without an end: who watches asks for nothing.
    return f"""\
general: {{
    configs_folder = "{home}"
    plugins_folder = "{home}/plugins"
    transports_folder = "{home}/transports"
    events_folder = "{home}/events"
    loggers_folder = "{home}/loggers"
    debug_level = 2
    session_timeout = 0
    event_loops = 1
}}
media: {{
    ipv6 = {"true" if ":" in host else "false"}
}}
nat: {{
    ice_lite = true
    ice_enforce_list = "{host}"
}}
"""


def _http(host: str) -> str:
    return f"""\
general: {{
    json = "compact"
    http = true
    port = {PORT}
    ip = "{host}"
    https = false
}}
admin: {{
    admin_http = false
    admin_https = false
}}
"""
