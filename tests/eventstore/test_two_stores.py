"""Whatever is asked of them, the store in memory and the one on a server answer alike and hold the same log."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from actors.loop import BackgroundLoop
from eventstore.errors import EventStoreError
from eventstore.memory import MemoryStore
from eventstore.oona import Oona, connect
from eventstore.oona.server import LocalServer
from eventstore.signing import Keys
from eventstore.store import EventStore, StreamName
from tests.conftest import delete_streams
from tests.eventstore.vocabulary import TYPES, context, said

KEYS = Keys("k")
STREAMS = [StreamName("seed", "a"), StreamName("seed", "b"), StreamName("run", "a")]
streams, versions = st.sampled_from(STREAMS), st.integers(0, 6)
commands = st.integers(1, 8).map(lambda number: f"{number:032x}")
contents = st.lists(st.text(max_size=5), min_size=1, max_size=3)


def machine(server: LocalServer, loop: BackgroundLoop) -> type[RuleBasedStateMachine]:
    """Return the machine of commands that both stores are put through."""

    class TwoStores(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            loop.call(delete_streams(server.url), 30)
            self.oona: Oona = loop.call(connect(server.url, keys=KEYS, types=TYPES, commands=TYPES), 30)
            self.stores: list[EventStore] = [MemoryStore(TYPES, KEYS), self.oona.store]

        def alike(self, ask: Callable[[EventStore], Awaitable[Any]]) -> None:
            memory, oona = (loop.call(outcome(ask(store)), 30) for store in self.stores)
            assert memory == oona

        @rule(stream=streams, words=contents, expected=versions, command=commands)
        def append(self, stream: StreamName, words: list[str], expected: int, command: str) -> None:
            self.alike(lambda store: store.append(stream, said(*words), expected=expected, context=context(command)))

        @rule(stream=streams, words=contents, command=commands)
        def append_rightly(self, stream: StreamName, words: list[str], command: str) -> None:
            version = len(loop.call(self.stores[0].read_stream(stream), 30))
            self.append(stream, words, version, command)

        @rule(stream=streams, after=versions)
        def read(self, stream: StreamName, after: int) -> None:
            self.alike(lambda store: store.read_stream(stream, after_version=after))

        @rule(stream=streams, before=versions, limit=versions)
        def read_backward(self, stream: StreamName, before: int, limit: int) -> None:
            self.alike(lambda store: store.read_stream_backward(stream, before_version=before, limit=limit))

        @rule(stream=streams, version=versions)
        def mark(self, stream: StreamName, version: int) -> None:
            # A store on a server may not have seen the stream yet; what it says of it must be true.
            memory, oona = (store.mark(stream, version) for store in self.stores)
            assert oona in (memory, None)

        @rule(words=contents, command=commands)
        def another_process_writes(self, words: list[str], command: str) -> None:
            async def elsewhere() -> None:
                other = await connect(server.url, keys=KEYS, types=TYPES, commands=TYPES)
                for store in (self.stores[0], other.store):
                    version = len(await store.read_stream(STREAMS[0]))
                    await store.append(STREAMS[0], said(*words), expected=version, context=context(command))
                await other.close()

            loop.call(elsewhere(), 30)

        @invariant()
        def the_logs_are_the_same(self) -> None:
            self.alike(everything)

        def teardown(self) -> None:
            if hasattr(self, "oona"):
                loop.call(self.oona.close(), 30)

    return TwoStores


async def outcome(asked: Awaitable[Any]) -> object:
    """Return what came back, or which refusal, with its facts."""
    try:
        return await asked
    except EventStoreError as refusal:
        return type(refusal), str(refusal)


async def everything(store: EventStore) -> object:
    forward = [stored async for stored in store.read_stored()]
    backward = [event async for event in store.read_all_backward()]
    assert backward == [event for stored in forward for event in stored.events][::-1]
    return forward


def walk(server: LocalServer, examples: int, steps: int) -> None:
    """Put both stores through *examples* random walks."""
    with BackgroundLoop("two-stores") as loop:
        run_state_machine_as_test(
            lambda: machine(server, loop)(),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_a_few_walks_end_in_the_same_log(nats_server: LocalServer):
    walk(nats_server, 8, 15)


@pytest.mark.slow
def test_many_walks_end_in_the_same_log(nats_server: LocalServer):
    walk(nats_server, 100, 40)
