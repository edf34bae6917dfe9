"""How processes say what they are doing: JSON lines in services, colours in terminals, never on standard output."""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_service(actor: str, stream: TextIO = sys.stderr) -> None:
    """Write one JSON object per line to *stream*, each naming *actor*."""
    tail: tuple[Processor, ...] = (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    _configure(logging.INFO, (*_SHARED, *tail), stream)
    structlog.contextvars.bind_contextvars(actor=actor)


def configure_terminal(stream: TextIO = sys.stderr, *, verbose: bool = False) -> None:
    """Write for a person at *stream*: warnings only, or everything if *verbose*."""
    renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    _configure(logging.DEBUG if verbose else logging.WARNING, (*_SHARED, renderer), stream)


def configure_if_unset(stream: TextIO = sys.stderr) -> None:
    """As `configure_terminal`, unless the program that hosts us has configured structlog itself."""
    if not structlog.is_configured():
        configure_terminal(stream)


def _configure(level: int, processors: tuple[Processor, ...], stream: TextIO) -> None:
    _render_the_event_store(level, processors, stream)
    structlog.configure(
        processors=list(processors),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


def _render_the_event_store(level: int, processors: tuple[Processor, ...], stream: TextIO) -> None:
    """Write what the event store says, through the standard library since it stands alone, in the same form."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *processors],
        )
    )
    store = logging.getLogger("eventstore")
    store.handlers, store.propagate = [handler], False
    store.setLevel(level)


def logger(name: str) -> Any:
    """Return a logger that says *name* with each line."""
    return structlog.get_logger(part=name)
