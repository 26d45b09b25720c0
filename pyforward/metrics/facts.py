"""What of the configuration metrics tell, and nothing that is a secret."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509

from pyforward.config import Config
from pyforward.config.render import to_toml
from pyforward.metrics.collector import Facts

_HASH_DIGITS = 12


def facts_of(config: Config, dtls: x509.Certificate) -> Facts:
    """Of this configuration, whose files were read already, and the certificate of DTLS."""
    ends = {"dtls": dtls.not_valid_after_utc.timestamp()}
    if config.http.tls_cert:
        served = x509.load_pem_x509_certificate(Path(config.http.tls_cert).read_bytes())
        ends["http"] = served.not_valid_after_utc.timestamp()
    return Facts(
        config_hash=config_hash(config),
        max_streams=config.metrics.max_streams,
        limits={"viewers": config.limits.viewers, "streams": config.limits.streams},
        certificate_ends=ends,
    )


def config_hash(config: Config) -> str:
    """The same for the same settings, wherever each came from; secrets are masked before."""
    text = to_toml(config, origins={})
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
