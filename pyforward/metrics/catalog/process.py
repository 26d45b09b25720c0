"""What the process as a whole tells: which build, which settings, how much of it is used."""

from __future__ import annotations

from pyforward.metrics.catalog.model import Metric

CAPACITY_USED = Metric(
    "pyforward_capacity_used_ratio",
    "gauge",
    "Share used of the busiest resource, 0 to 1, over the last 5 s: the number to scale on.",
    unit="ratio",
)
RESOURCE_USED = Metric(
    "pyforward_resource_used_ratio",
    "gauge",
    "The same for each resource: the busiest shard, the control loop, descriptors, memory, and "
    "viewers and streams where limits.* bounds them.",
    unit="ratio",
    labels=("resource",),
)
CONTROL_CPU = Metric(
    "pyforward_control_cpu_seconds_total",
    "counter",
    "CPU that the control loop's thread used; threads that compute handshakes are not in it.",
    unit="seconds",
)
LOOP_LAG = Metric(
    "pyforward_event_loop_lag_seconds",
    "histogram",
    "How late the control loop was, ten times a second: so long do joins and answers wait.",
    unit="seconds",
)
SCRAPE = Metric(
    "pyforward_scrape_seconds",
    "gauge",
    "How long the control loop was kept by the last answer to /metrics that was made.",
    unit="seconds",
)
READERS_DROPPED = Metric(
    "pyforward_readers_dropped_total",
    "counter",
    "Connections that were cut off because an answer was not read: in time, or when others needed "
    "the room.",
)
ANSWERS_REFUSED = Metric(
    "pyforward_answers_refused_total",
    "counter",
    "Large answers that were refused because limits.unread_bytes of others waited to be read.",
)
CERTIFICATE_EXPIRY = Metric(
    "pyforward_certificate_expiry_timestamp_seconds",
    "gauge",
    "When a certificate ends, in Unix time. The one of dtls is renewed by each start unless "
    "dtls.cert_file names one.",
    unit="seconds",
    labels=("certificate",),
)
BUILD_INFO = Metric(
    "pyforward_build_info", "info", "The running version.", labels=("version", "python")
)
CONFIG_INFO = Metric(
    "pyforward_config_info",
    "info",
    "A hash of the settings, secrets left out: the same on servers that are set up alike.",
    labels=("hash",),
)

METRICS = (
    CAPACITY_USED,
    RESOURCE_USED,
    CONTROL_CPU,
    LOOP_LAG,
    SCRAPE,
    READERS_DROPPED,
    ANSWERS_REFUSED,
    CERTIFICATE_EXPIRY,
    BUILD_INFO,
    CONFIG_INFO,
)
