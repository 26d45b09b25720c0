"""Whose certificates are believed."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pyforward.client import trust
from pyforward.errors import BadAnswer, ConfigError, Unreachable
from tests.unit.client.site import OFFER, client, created, serving, status


def _certificate(folder: Path) -> Path:
    """A file with a certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return _certificate(tmp_path)


def _server(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_stranger_is_not_trusted(pem: Path) -> None:
    async with serving(created(), ssl=_server(pem)) as site, client() as signalling:
        with pytest.raises(Unreachable, match=r"certificate of https://127.* is not trusted: self"):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert site.seen == []


async def test_its_own_authority_or_no_check_at_all(pem: Path) -> None:
    for belief in (trust(pem), trust(insecure=True)):
        async with serving(created(), ssl=_server(pem)) as site, client(ssl=belief) as signalling:
            resource = await signalling.join(site.url("/whep/show"), OFFER)
            assert resource.url.scheme == "https"
    assert trust() is True


async def test_where_there_is_no_tls() -> None:
    async with serving(created()) as site, client() as signalling:
        with pytest.raises(Unreachable, match="TLS with https://"):
            await signalling.join(site.url("/x").replace("http:", "https:"), OFFER)


async def test_an_encrypted_server_cannot_redirect_to_an_open_one(pem: Path) -> None:
    async with (
        serving(created()) as other,
        serving(status(307, Location=other.url("/x")), ssl=_server(pem)) as site,
        client(ssl=trust(pem)) as signalling,
    ):
        with pytest.raises(BadAnswer, match="not encrypted"):
            await signalling.join(site.url("/whep/show"), OFFER)
    assert other.seen == []


def test_a_file_without_certificates(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate"):
        trust(empty)
    with pytest.raises(ConfigError, match="No such file"):
        trust(tmp_path / "absent.pem")
