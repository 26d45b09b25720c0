"""Every setting, declared once: its type, default, unit, meaning and limits.

Flags, environment variables, ``--print-config``, ``docs/settings.md`` and the checks of a start are
all derived from these models. Nothing here reads a file or the environment; ``sources`` does.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from pyforward.srtp import SRTP_PROFILES, SrtpProfile

MASK = "********"
"""What stands for a secret wherever a configuration is shown."""


MAX_SHARDS = 64
"""As many as ``native/io/src/engine.rs`` takes."""


def setting(default: object, meaning: str, *, unit: str = "", **limits: Any) -> Any:
    """One setting; ``limits`` are pydantic's (``ge``, ``le``, ``pattern``, …)."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit}, **limits)


def _split(value: object) -> object:
    """A list in a variable or a flag is written with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _address_if_any(value: object) -> object:
    return _address(value) if isinstance(value, str) and value else value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _token(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text == MASK:
        raise ValueError("this is the mask that --print-config shows, not a token")
    if isinstance(text, str) and text and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        # RFC 6750 §2.1: anything else could never arrive in an Authorization header.
        raise ValueError("a bearer token consists of letters, digits and - . _ ~ + /")
    return value


def _url(value: str) -> str:
    wrong = "an address looks like https://host/path; this one does not"
    parts = urlsplit(value)
    host = parts.hostname
    if parts.scheme not in {"http", "https"} or not host or parts.fragment or " " in host:
        raise ValueError(wrong)
    try:
        host.encode("idna")
        _ = parts.port
    except ValueError as error:
        raise ValueError(wrong) from error
    return value


Addresses = Annotated[
    tuple[Annotated[str, BeforeValidator(_address)], ...], BeforeValidator(_split)
]
Networks = Annotated[tuple[Annotated[str, BeforeValidator(_network)], ...], BeforeValidator(_split)]
Urls = Annotated[tuple[Annotated[str, BeforeValidator(_url)], ...], BeforeValidator(_split)]
OneAddress = Annotated[str, BeforeValidator(_address_if_any)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Cores = Annotated[tuple[Annotated[int, Field(ge=0, le=1023)], ...], BeforeValidator(_split)]
SrtpProfiles = Annotated[tuple[SrtpProfile, ...], BeforeValidator(_split)]
Token = Annotated[SecretStr, BeforeValidator(_token)]


class Section(BaseModel):
    """One section of the configuration; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: object, info: ValidationInfo) -> object:
        # pydantic would read true as 1.
        field = cls.model_fields[info.field_name or ""]
        parts = value if isinstance(value, list) else [value]
        if field.annotation is not bool and any(isinstance(part, bool) for part in parts):
            raise ValueError("true and false are no value of this setting")
        return value


class Http(Section):
    """Signalling, the API, the page and the metrics."""

    bind: str = setting(
        "127.0.0.1:8080", "Address and port of HTTP; port 0 takes a free one.", unit="address:port"
    )
    public_url: str = setting(
        "",
        "The URL that clients reach this server by, without a path; empty: as they ask.",
        pattern=r"^(https?://[^/\s]+)?$",
    )
    trusted_proxies: Networks = setting(
        (), "Networks of the proxies whose Forwarded header is believed.", unit="CIDR"
    )
    tls_cert: str = setting("", "Certificate chain for HTTPS, PEM; empty: plain HTTP.", unit="path")
    tls_key: str = setting("", "Private key of the certificate, PEM.", unit="path")
    allow_open: bool = setting(
        False, "Start beyond loopback although anybody may publish without a token."
    )

    @field_validator("bind")
    @classmethod
    def _bind_is_address_and_port(cls, value: str) -> str:
        split_bind(value)
        return value

    @property
    def address(self) -> str:
        """The address of ``bind``, without brackets."""
        return split_bind(self.bind)[0]

    @property
    def port(self) -> int:
        """The port of ``bind``."""
        return split_bind(self.bind)[1]

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches HTTP."""
        return ipaddress.ip_address(self.address).is_loopback


class Media(Section):
    """The one UDP port that all media uses."""

    port: int = setting(8189, "UDP port of all media; 0 takes a free one.", ge=0, le=65535)
    bind: Addresses = setting(
        (),
        "Local addresses of media; empty: loopback when HTTP is on loopback, otherwise every one.",
        unit="addresses",
    )
    advertise: Addresses = setting(
        (),
        "Addresses that candidates name, in this order; empty: those that media is bound to.",
        unit="addresses",
    )


class Ice(Section):
    """Connectivity checks and liveness."""

    node: str = setting(
        "00",
        "Two characters that start this server's user names, so that a balancer can route by them.",
        pattern=r"^[A-Za-z0-9+/]{2}$",
    )
    silence_s: float = setting(
        15.0, "A session that shows no sign of life for so long is closed.", unit="s", ge=1, le=3600
    )
    connect_timeout_s: float = setting(
        15.0,
        "A session whose first check does not come within this is closed.",
        unit="s",
        ge=1,
        le=600,
    )
    source_address: OneAddress = setting(
        "", "Where `watch` and `publish` send from; empty: as the route says.", unit="address"
    )


class Dtls(Section):
    """Key agreement with browsers and encoders."""

    cert_file: str = setting(
        "", "Certificate for DTLS, PEM; empty: one is made at each start.", unit="path"
    )
    key_file: str = setting("", "Private key of the DTLS certificate, PEM.", unit="path")
    max_handshakes: int = setting(
        1000,
        "Handshakes at one time, at most half of them with peers that have only said hello; "
        "later ones wait.",
        unit="handshakes",
        ge=1,
        le=100_000,
    )
    handshake_timeout_s: float = setting(
        10.0, "A handshake that takes longer is given up.", unit="s", ge=1, le=120
    )
    threads: int = setting(2, "Threads that compute handshakes.", unit="threads", ge=1, le=64)
    srtp_profiles: SrtpProfiles = setting(
        SRTP_PROFILES,
        "Protection profiles that are offered and taken, the best first.",
        unit="names",
        min_length=1,
    )


class Auth(Section):
    """Bearer tokens. A flag is visible in the list of processes; prefer a variable or the file."""

    publish_token: Token = setting(SecretStr(""), "Token to publish; empty: anybody may.")
    view_token: Token = setting(SecretStr(""), "Token to watch; empty: anybody may.")
    admin_token: Token = setting(
        SecretStr(""), "Token for /api and /metrics; empty: they answer loopback peers only."
    )


class Limits(Section):
    """What one server takes on."""

    body_bytes: int = setting(65536, "Largest request body.", unit="bytes", ge=1024, le=1_048_576)
    concurrent_joins: int = setting(
        256,
        "Joins that are worked on at one time; more get 503 with Retry-After.",
        unit="joins",
        ge=1,
        le=100_000,
    )
    viewers: int = setting(
        0, "Viewers at one time; 0: no limit.", unit="sessions", ge=0, le=10_000_000
    )
    streams: int = setting(
        1000, "Streams at one time, declared ones included.", unit="streams", ge=1, le=1_000_000
    )
    sessions_half_open: int = setting(
        20_000,
        "Sessions at one time that have no keys yet; more get 503 with Retry-After.",
        unit="sessions",
        ge=1,
        le=1_000_000,
    )
    unread_bytes: int = setting(
        16_777_216,
        "HTTP answers that may wait to be read, altogether; beyond that readers that take more than"
        " a second are cut off, and large answers get 503 with Retry-After.",
        unit="bytes",
        ge=65_536,
        le=17_179_869_184,
    )


class Streams(Section):
    """What happens to streams and their publishers."""

    conflict: Literal["replace", "reject"] = setting(
        "replace",
        "A second publisher of a stream replaces the first as soon as it sends, or is rejected with"
        " 409.",
    )
    wait_s: float = setting(
        30.0,
        "How long the viewers of a stream are kept when its publisher is gone.",
        unit="s",
        ge=0,
        le=86_400,
    )
    declared: Names = setting(
        (), "Streams that exist without a publisher: viewers get 409 instead of 404.", unit="names"
    )
    keyframe_interval_ms: int = setting(
        500,
        "A publisher is asked for at most one keyframe in this time.",
        unit="ms",
        ge=50,
        le=60_000,
    )
    publisher_bitrate_kbps: int = setting(
        20_000,
        "The most that a publisher is told to send.",
        unit="kbit/s",
        ge=64,
        le=1_000_000,
    )

    @field_validator("declared")
    @classmethod
    def _declared_are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", name) or name in {".", ".."}:
                raise ValueError(
                    f"{name!r} is no stream name: up to 128 letters, digits and . _ ~ -"
                )
        return tuple(dict.fromkeys(value))


class Events(Section):
    """What operators are told as it happens, over `/api/events`."""

    listeners: int = setting(
        64, "Listeners at one time; more get 503.", unit="listeners", ge=1, le=100_000
    )
    queue: int = setting(
        256,
        "Events that may wait for one listener; one that falls further behind is dropped.",
        unit="events",
        ge=16,
        le=65_536,
    )
    kept: int = setting(
        1024, "Events that are kept for listeners that come back.", unit="events", ge=16, le=65_536
    )
    viewers_per_s: int = setting(
        20,
        "Viewers that join or leave are told one by one up to this rate, and summed beyond it.",
        unit="events/s",
        ge=0,
        le=10_000,
    )


class Webhooks(Section):
    """Where events are sent to, each signed, by POST."""

    urls: Urls = setting((), "Addresses that get every event.", unit="URLs")
    secret: Token = setting(
        SecretStr(""), "Key of the signatures; `whsec_` and base64, or any text."
    )
    queue: int = setting(
        1000,
        "Events that may wait for one address; the oldest are dropped beyond that.",
        unit="events",
        ge=1,
        le=100_000,
    )
    timeout_s: float = setting(
        10.0, "An address that has not answered by then is asked again.", unit="s", ge=0.1, le=120
    )
    attempts: int = setting(
        8, "So often an event is sent before it is given up.", unit="attempts", ge=1, le=100
    )


class Engine(Section):
    """Switches of the packet engine, mostly to show what each is worth."""

    gso: bool = setting(True, "Send trains as one message (UDP_SEGMENT) where the kernel can.")
    padding: bool = setting(True, "Even packets of a train out by a few bytes of RTP padding.")
    sendmmsg: bool = setting(True, "Send many messages in one system call.")
    frame_window_ms: float = setting(
        1.0,
        "How long packets wait for the end of their video frame while the shard is busy, which is"
        " half of its time or more; 15: whole frames, which cost the least and are later; 0: not at"
        " all.",
        unit="ms",
        ge=0,
        le=100,
    )
    idle_window_ms: float = setting(
        1.0,
        "The same while it is not busy, at most as long: what leaves in parts is there sooner.",
        unit="ms",
        ge=0,
        le=100,
    )
    shed_after_ms: float = setting(
        200.0,
        "A shard that takes media later than this, and goes on being late, leaves video of some"
        " viewers out, in turns from keyframe to keyframe, until it keeps up; 0: never.",
        unit="ms",
        ge=0,
        le=5_000,
    )
    pace_mbps: int = setting(
        100,
        "How fast a viewer's video leaves after a burst of 48 KiB: a large keyframe is spread, so"
        " that it does not flood the last mile; 0: at once.",
        unit="Mbit/s",
        ge=0,
        le=100_000,
    )
    repeats: bool = setting(
        True,
        "On lossy ways let requests and answers go twice, and see to the end of a frame before the"
        " next one shows that it is missing.",
    )
    cores: Cores = setting(
        (),
        "Cores that the shards are pinned to, in turn, and that all other threads keep off if any"
        " are left; empty: wherever the kernel runs them.",
        unit="numbers",
    )
    shards: int = setting(
        0,
        "Threads that forward packets; 0: one for each of `engine.cores`, or without those one for"
        " each core.",
        unit="threads",
        ge=0,
        le=MAX_SHARDS,
    )
    max_events: int = setting(
        65_536,
        "Events that may wait for Python; later ones are dropped and counted.",
        unit="events",
        ge=256,
        le=16_777_216,
    )


class Log(Section):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least severe level that is written."
    )
    format: Literal["text", "json"] = setting("text", "One readable line, or one JSON object.")
    lines_per_s: int = setting(
        50,
        "Lines of one event and one reason in a second; more of them are summed in one. 0: no "
        "limit.",
        unit="lines/s",
        ge=0,
        le=1_000_000,
    )


class Metrics(Section):
    """What Prometheus is told."""

    max_streams: int = setting(
        100,
        "Streams that metrics tell apart; those that come later are one, called other.",
        unit="streams",
        ge=0,
        le=10_000,
    )


class Config(BaseModel):
    """The whole configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http: Http = Http()
    media: Media = Media()
    ice: Ice = Ice()
    dtls: Dtls = Dtls()
    auth: Auth = Auth()
    limits: Limits = Limits()
    streams: Streams = Streams()
    events: Events = Events()
    webhooks: Webhooks = Webhooks()
    engine: Engine = Engine()
    log: Log = Log()
    metrics: Metrics = Metrics()


def split_bind(bind: str) -> tuple[str, int]:
    """Address and port of ``127.0.0.1:8080`` or ``[::1]:8080``; ValueError says what is wrong."""
    host, colon, port_text = bind.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("write an IPv6 address in brackets, as in [::1]:8080")
    if not colon or not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65535:
        raise ValueError("write address:port, as in 127.0.0.1:8080, with a port up to 65535")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host)), int(port_text)
    except ValueError:
        raise ValueError(
            f"{host!r} is no IP address; 0.0.0.0 or [::] stands for every address"
        ) from None


def media_addresses(config: Config) -> tuple[str, ...]:
    """The local addresses that media binds; empty means every address of the machine."""
    if config.media.bind:
        return config.media.bind
    return ("127.0.0.1", "::1") if config.http.on_loopback else ()


def contradictions(config: Config) -> list[tuple[str, str]]:
    """Settings that are right one by one but not together, as (setting, what to do)."""
    http, media, dtls = config.http, config.media, config.dtls
    found: list[tuple[str, str]] = []
    publish_token = config.auth.publish_token.get_secret_value()
    if not (http.on_loopback or http.allow_open or publish_token):
        why = (
            f"{http.bind} is reachable from other machines, and anybody could publish: set "
            "auth.publish_token (PYFORWARD_AUTH__PUBLISH_TOKEN), or say that it is meant "
            "with http.allow_open (--http-allow-open)"
        )
        found.append(("http.bind", why))
    beyond = [a for a in media.advertise if not ipaddress.ip_address(a).is_loopback]
    if http.on_loopback and not media.bind and beyond:
        why = (
            f"{beyond[0]} is advertised, but with HTTP on loopback media is bound to loopback "
            "only: set media.bind as well"
        )
        found.append(("media.advertise", why))
    if config.webhooks.urls and not config.webhooks.secret.get_secret_value():
        why = "events are signed: set webhooks.secret (PYFORWARD_WEBHOOKS__SECRET) as well"
        found.append(("webhooks.urls", why))
    pairs = (
        ("http.tls_cert", http.tls_cert, "http.tls_key", http.tls_key),
        ("dtls.cert_file", dtls.cert_file, "dtls.key_file", dtls.key_file),
    )
    for cert_name, cert, key_name, key in pairs:
        if bool(cert) != bool(key):
            given, missing = (cert_name, key_name) if cert else (key_name, cert_name)
            found.append((given, f"a certificate and its key come together: set {missing} too"))
    return found
