"""HTTP out: every event of the feed, signed, to the addresses of ``webhooks.urls``."""

from pyforward.webhooks.signature import key_of, sign
from pyforward.webhooks.target import Answer, Target
from pyforward.webhooks.webhooks import Webhooks

__all__ = ["Answer", "Target", "Webhooks", "key_of", "sign"]
