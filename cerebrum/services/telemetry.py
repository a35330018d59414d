"""Logs (structlog, to stderr) and metrics (Prometheus, without any id in a label)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

LogFormat = Literal["auto", "json", "text"]
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def configure_logs(format: LogFormat = "auto", level: str = "info") -> None:
    """One line per happening on stderr: JSON, or coloured text where a person looks on."""
    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        # The default traceback shows local variables, tokens among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*before, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Looked up each time: whoever swaps stderr and closes it must not end what only logs.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _route_library_logs([*before, structlog.stdlib.add_logger_name], last, number)


def _route_library_logs(before: list[Any], last: list[Any], level: int) -> None:
    """uvicorn, alembic and others log through `logging`: the same lines on the same stream."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        formatter(foreign_pre_chain=before, processors=[formatter.remove_processors_meta, *last])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # A library says much at INFO (httpx: a line per request) that is ours to say.
    root.setLevel(max(level, logging.WARNING))


class HttpMetrics:
    """Requests by route template, method and status; never by the path that was asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("route", "method")
        self._count = Counter(
            "cerebrum_http_requests", "Requests answered.", (*labels, "status"), registry=registry
        )
        self._seconds = Histogram(
            "cerebrum_http_request_seconds", "From the request to the end of the answer, s.",
            labels, buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.under_way = Gauge(
            "cerebrum_http_requests_under_way", "Requests not answered yet.", registry=registry
        )

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answered request."""
        self._count.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)


class Counts(Collector):
    """Gauges that are read off something else when somebody scrapes.

    `update` takes rows (metric, label value, amount); what was not given any more disappears.
    """

    def __init__(self, descriptions: dict[str, tuple[str, str]]) -> None:
        self._descriptions = descriptions
        self._rows: list[tuple[str, str, float]] = []

    def update(self, rows: Iterable[tuple[str, str, float]]) -> None:
        """Replace everything."""
        self._rows = list(rows)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What prometheus_client calls."""
        for name, (about, label) in self._descriptions.items():
            family = GaugeMetricFamily(name, about, labels=[label] if label else [])
            for metric, value, amount in self._rows:
                if metric == name:
                    family.add_metric([value] if label else [], amount)
            yield family


def registry() -> CollectorRegistry:
    """A registry of its own for each application, with the process's CPU, memory and files."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    return found
