"""PromQL over metrics of the catalog: a name, a label or a kind that does not exist is an error
here and not an empty panel.

``[$__rate_interval]`` follows the scrape interval and the board's width; rules have no board and
name their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyforward.metrics.catalog import FOREIGN, Metric


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series are meant, and over what time rates are taken."""

    selector: str
    window: str

    def rate(self, metric: Metric, *by: str, where: str = "") -> str:
        """What a counter gains in a second, added up over everything but ``by``."""
        _demand(metric, "counter", by)
        return f"{_over('sum', by)} (rate({self._of(metric.name, where)}[{self.window}]))"

    def gauge(self, metric: Metric, *by: str, where: str = "", fold: str = "sum") -> str:
        """A gauge, folded over everything but ``by``."""
        _demand(metric, "gauge", by)
        return f"{_over(fold, by)} ({self._of(metric.name, where)})"

    def share(self, part: Metric, whole: Metric, *by: str) -> str:
        """A gauge's share of another one with the same labels, of several servers the largest."""
        for metric in (part, whole):
            _demand(metric, "gauge", by)
        both = f"{self._of(part.name, '')} / {self._of(whole.name, '')}"
        return f"{_over('max', by)} ({both})"

    def quantile(self, q: float, metric: Metric, *by: str, where: str = "") -> str:
        """A quantile of what a histogram observed."""
        _demand(metric, "histogram", by)
        buckets = self._of(f"{metric.name}_bucket", where)
        inner = f"{_over('sum', ('le', *by))} (rate({buckets}[{self.window}]))"
        return f"histogram_quantile({q}, {inner})"

    def mean(self, metric: Metric, *by: str, where: str = "") -> str:
        """The mean of what a histogram observed."""
        _demand(metric, "histogram", by)
        parts = [
            f"{_over('sum', by)} (rate({self._of(metric.name + part, where)}[{self.window}]))"
            for part in ("_sum", "_count")
        ]
        return ratio(*parts)

    def count(self, metric: Metric, *by: str) -> str:
        """How many servers tell the same fact."""
        _demand(metric, "info", by)
        return f"{_over('count', by)} ({self._of(metric.name, '')})"

    def foreign(self, name: str, where: str = "") -> str:
        """A metric of the process or of Prometheus itself."""
        if name not in FOREIGN:
            raise ValueError(f"{name} is not in the catalog")
        return self._of(name, where)

    def _of(self, name: str, where: str) -> str:
        inside = ",".join(part for part in (self.selector, where) if part)
        return f"{name}{{{inside}}}" if inside else name


def ratio(part: str, whole: str) -> str:
    """A share; nothing while the whole is nothing."""
    return f"{part} / ({whole} > 0)"


def _over(fold: str, by: Iterable[str]) -> str:
    names = ", ".join(by)
    return f"{fold} by ({names})" if names else fold


def _demand(metric: Metric, kind: str, by: Iterable[str]) -> None:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
    unknown = set(by) - set(metric.labels) - {"job", "instance"}
    if unknown:
        raise ValueError(f"{metric.name} has no label {unknown}")


IN, OUT = ('direction="in"', 'direction="out"')

BOARD = Scope('job=~"$job",instance=~"$instance"', "$__rate_interval")
STREAM = Scope('job=~"$job",instance=~"$instance",stream="$stream"', "$__rate_interval")
BENCH = Scope('job=~"$bench"', "$__rate_interval")
RULE = Scope("", "5m")
