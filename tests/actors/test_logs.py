"""What the event store says through the standard library comes out in the form of everything else."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from actors.logs import configure_service, configure_terminal

STORE = logging.getLogger("eventstore.oona")


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    store = logging.getLogger("eventstore")
    before = (store.handlers, store.propagate, store.level)
    yield
    store.handlers, store.propagate = before[0], before[1]
    store.setLevel(before[2])
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_in_a_service_its_words_are_one_json_object_that_names_the_actor():
    stream = io.StringIO()
    configure_service("forge", stream)
    STORE.warning("connection trouble: %s", "gone")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["actor"]) == ("connection trouble: gone", "warning", "forge")
    assert line["timestamp"]


def test_a_terminal_is_told_warnings_only_and_each_once():
    stream = io.StringIO()
    configure_terminal(stream)
    configure_terminal(stream)
    STORE.info("reads again")
    STORE.warning("connection lost")
    assert stream.getvalue().count("connection lost") == 1
    assert "reads again" not in stream.getvalue()
