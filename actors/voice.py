"""One run's way of telling the log something, under ids that derive from what it is told for."""

from typing import Any

from google.protobuf.message import Message

from actors.clock import Clock
from actors.dispatch import AggregateCache, dispatch
from actors.ids import derived_id, spoken_in
from actors.place import Log
from esper.leyline.decider import Decider
from eventstore.store import Appended, Context, StreamName


class Voice:
    """Dispatches the commands of one run. All coroutines run on the background loop.

    Every command's id derives from the run and the command's purpose. So whoever says the same thing again - a run
    that was killed and repeats a stretch of its training, an outbox that is emptied twice - finds the outcome that the
    log already holds.
    """

    def __init__(self, log: Log, run_id: str, clock: Clock, cache: AggregateCache | None = None) -> None:
        self.log, self.run_id, self.clock = log, run_id, clock
        self.events_written = 0
        # How many rollbacks the model shows.
        self.timeline = 0
        self._cache = cache or AggregateCache()

    def command_id(self, stream: StreamName, purpose: str) -> str:
        """Return the id of the command that serves *purpose* in *stream*."""
        return derived_id(self.run_id, str(stream), spoken_in(self.timeline, purpose))

    async def tell(
        self,
        decider: Decider[Any, Any, Any],
        stream: StreamName,
        command: Message,
        purpose: str,
        *,
        causation: str = "",
        actor: str = "tolaria",
    ) -> Appended | None:
        """Dispatch *command* under the id that belongs to *purpose*; see `actors.dispatch.dispatch`."""
        command_id = self.command_id(stream, purpose)
        return await self.send(decider, stream, command, command_id, causation=causation, actor=actor)

    async def send(
        self,
        decider: Decider[Any, Any, Any],
        stream: StreamName,
        command: Message,
        command_id: str,
        *,
        causation: str = "",
        actor: str = "tolaria",
    ) -> Appended | None:
        """Dispatch *command* under *command_id*."""
        context = Context(
            command_id=command_id,
            command_type=type(command).__name__,
            recorded_at_ns=self.clock.now_ns(),
            actor=actor,
            causation_id=causation,
            correlation_id=self.run_id,
            run_id=self.run_id,
        )
        appended = await dispatch(self.log.store, decider, stream, command, context, cache=self._cache)
        if appended is not None:
            self.events_written += 0 if appended.duplicate else len(appended.events)
        return appended
