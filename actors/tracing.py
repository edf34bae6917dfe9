"""Spans around decisions, so that a recorded event knows the trace it was born in.

Nothing is exported unless the program configures a tracer provider of its own; spans then go there.
"""

import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()


class _OwnRandomness(IdGenerator):
    """The SDK draws trace ids from the global `random` state, which belongs to the user's training."""

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1


@cache
def _own_provider() -> TracerProvider:
    return TracerProvider(id_generator=_OwnRandomness(), shutdown_on_exit=False)


def _tracer() -> trace.Tracer:
    provider = trace.get_tracer_provider()
    chosen = _own_provider() if isinstance(provider, trace.ProxyTracerProvider) else provider
    return chosen.get_tracer("esper")


@contextmanager
def span(name: str, *, traceparent: str = "", attributes: Mapping[str, str] | None = None) -> Generator[trace.Span]:
    """Open a span called *name*: a child of *traceparent* if given, else of the span already open here."""
    parent = _W3C.extract({"traceparent": traceparent}) if traceparent else None
    with _tracer().start_as_current_span(name, context=parent, attributes=attributes) as opened:
        yield opened


def current_traceparent() -> str:
    """Return the W3C trace context of the span that is open here, or "" outside of any."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier["traceparent"] if carrier else ""
