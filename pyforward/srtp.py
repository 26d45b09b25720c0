"""The protection profiles of SRTP that both sides know, by their registered names
(RFC 5764 §4.1.2, RFC 7714 §14.2)."""

from __future__ import annotations

from typing import Final, Literal, get_args

SrtpProfile = Literal["SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM", "SRTP_AES128_CM_SHA1_80"]

SRTP_PROFILES: Final[tuple[SrtpProfile, ...]] = get_args(SrtpProfile)
"""All of them in our order; as the DTLS server it wins over the peer's. GCM-128 costs a quarter of
CM with HMAC-SHA1, and is what every browser has."""
