"""The server's certificate: ECDSA P-256, generated at the start or read from files.

Nobody verifies it by a chain: peers compare its fingerprint with the one in our SDP (RFC 8122).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pyforward.errors import ConfigError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

FINGERPRINT_ALGORITHM = "sha-256"

_VALID_DAYS = 365
_CLOCK_SKEW_DAYS = 1


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def fingerprint(self) -> tuple[str, bytes]:
        """(algorithm, digest) as ``a=fingerprint`` has it."""
        return FINGERPRINT_ALGORITHM, self.certificate.fingerprint(hashes.SHA256())

    @classmethod
    def generate(cls) -> Certificate:
        """A new self-signed one."""
        key = ec.generate_private_key(ec.SECP256R1())
        # The subject is shown to every peer: it names the program, never the host.
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pyforward")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=_CLOCK_SKEW_DAYS))
            .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, cert_file: str | Path, key_file: str | Path) -> Certificate:
        """The first certificate of a PEM file and the unencrypted key of another; raises
        ConfigError with a sentence."""
        try:
            certificate = x509.load_pem_x509_certificate(Path(cert_file).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"dtls.cert_file: {cert_file} cannot be used: {error}") from None
        try:
            key = serialization.load_pem_private_key(Path(key_file).read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"dtls.key_file: {key_file} cannot be used: {error}") from None
        if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
            raise ConfigError(f"dtls.key_file: {key_file} holds neither an EC nor an RSA key")
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"dtls.key_file: {key_file} is not the key of {cert_file}")
        return cls(certificate, key)
