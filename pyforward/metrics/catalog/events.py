"""What became of what operators are told: events, those who listen, and webhooks."""

from __future__ import annotations

from pyforward.metrics.catalog.model import Metric

_TO = ("target",)

EVENTS = Metric(
    "pyforward_events_total",
    "counter",
    "Events told, of streams and viewers; docs/operate/console.md lists them.",
)
LISTENERS = Metric("pyforward_event_listeners", "gauge", "Who listens to /api/events.")
LISTENERS_DROPPED = Metric(
    "pyforward_event_listeners_dropped_total",
    "counter",
    "Listeners that were let go because they did not read.",
)
LISTENERS_REFUSED = Metric(
    "pyforward_event_listeners_refused_total",
    "counter",
    "Listeners refused because events.listeners were there.",
)
WEBHOOK_WAITING = Metric(
    "pyforward_webhook_waiting_events",
    "gauge",
    "Events that wait for a webhook, of webhooks.queue at most. Webhooks are told apart by scheme, "
    "host and port; several of the same are one.",
    labels=_TO,
)
WEBHOOK_DELIVERED = Metric(
    "pyforward_webhook_delivered_events_total",
    "counter",
    "Events that a webhook took.",
    labels=_TO,
)
WEBHOOK_FAILED = Metric(
    "pyforward_webhook_failed_attempts_total",
    "counter",
    "Attempts to deliver an event that failed.",
    labels=_TO,
)
WEBHOOK_DROPPED = Metric(
    "pyforward_webhook_dropped_events_total",
    "counter",
    "Events that a webhook will never get: too many waited, or every attempt failed.",
    labels=_TO,
)

METRICS = (
    EVENTS,
    LISTENERS,
    LISTENERS_DROPPED,
    LISTENERS_REFUSED,
    WEBHOOK_WAITING,
    WEBHOOK_DELIVERED,
    WEBHOOK_FAILED,
    WEBHOOK_DROPPED,
)
