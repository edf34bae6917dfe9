"""The session of a process that follows: it trains on its share of the data, and grows as the log says."""

import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, NoReturn

import msgspec
import torch
from torch import Tensor, nn

from actors.changes import Backlog, Change
from actors.loop import BackgroundLoop
from actors.place import Place
from actors.streams import seed_stream
from esper.api.errors import KernelLost, NothingTrained
from esper.api.growth import Growth
from esper.api.kernels import open_verified
from esper.api.parallel.crew import demand_alike, reported, same_buffers
from esper.api.parallel.errors import ParallelRefused, RanksDiffer
from esper.api.parallel.words import Told
from esper.api.script import Script
from esper.api.session import Session
from esper.api.slots import Outcome
from esper.kasmina.grafting import Seedling
from esper.kasmina.ranks import ProcessRanks
from esper.leyline.v1.run_pb2 import EpochFacts
from esper.leyline.v1.seed_pb2 import KernelAttached
from esper.urza.errors import BundleRefused
from eventstore.store import EventStore

LOG_WAIT_S = 60.0
RANK_0 = "do it in the process of rank 0"


class Reader:
    """Shows in one model what the log holds of its seeds, as far as rank 0 shows it."""

    def __init__(
        self, run_id: str, model: nn.Module, growth: Growth, place: Place, store: EventStore, loop: BackgroundLoop
    ) -> None:
        self._run_id, self._model, self._growth = run_id, model, growth
        self._place, self._store, self._loop = place, store, loop
        self._backlog = Backlog()
        for seed_id, seed in growth.seeds.items():
            self._backlog.begin(seed_id, seed.version)

    def show(self, shown: Sequence[tuple[str, int]]) -> None:
        """Make the changes that rank 0 has made, in its order.

        Raises:
            RanksDiffer: the log that this process reads does not hold them.
            KernelLost: a kernel does not verify here.
        """
        for seed_id, version in shown:
            if self._backlog.known(seed_id) < version:
                stream = seed_stream(self._run_id, seed_id)
                reading = self._store.read_stream(stream, after_version=self._backlog.known(seed_id))
                self._backlog.learn(seed_id, self._loop.call(reading, LOG_WAIT_S), {})
            if self._backlog.known(seed_id) < version:
                found = [f"{seed_id} at version {version}", f"version {self._backlog.known(seed_id)}"]
                raise RanksDiffer("the log", found, "Give every rank the same log and folder")
            for change in self._backlog.taken(seed_id, version):
                self._growth.apply(change, self._seedling(change))

    def _seedling(self, change: Change) -> Seedling | None:
        attached = next((event for event in change.messages if isinstance(event, KernelAttached)), None)
        if attached is None:
            return None
        seed = self._growth.seeds[change.seed_id]
        try:
            opened = open_verified(self._place, self._model, seed, attached.kernel_id, self._growth.kernels)
        except BundleRefused as refused:
            raise KernelLost(change.seed_id, attached.kernel_id, str(refused)) from refused
        return self._growth.seedling(change.seed_id, opened.module)


class Follower(Session):
    """What `attach` returns to every rank but the first. It decides, measures and records nothing."""

    def __init__(  # pyright: ignore[reportMissingSuperCall] - it has none of what a session decides with
        self,
        run_id: str,
        script: Script,
        ranks: ProcessRanks,
        growth: Growth,
        reader: Reader,
        last: EpochFacts,
        close: Callable[[], None],
    ) -> None:
        self.run_id, self.facts, self.summary = run_id, last, None
        self.epoch, self.global_step = last.at.epoch, last.at.step
        self.decisions, self.slots = (), {}
        self.parameters_before = sum(parameter.numel() for parameter in script.model.parameters())
        self._script, self._ranks, self._reader = script, ranks, reader
        self._model, self._growth, self._close = script.model, growth, close
        self._losses, self._steps, self._open = list[Tensor](), 0, True

    @property
    def events_written(self) -> int:
        """None: rank 0 writes."""
        return 0

    @property
    def outbox_depth(self) -> int:
        """None: rank 0 writes."""
        return 0

    def observe(self, *inputs: object) -> NoReturn:
        """Refuse; rank 0 decides what grows."""
        raise ParallelRefused("observing", RANK_0)

    def rollback(
        self, to: str | int | None = None, *, mode: Literal["restore", "stabilise"] = "restore", reason: str = ""
    ) -> Outcome:
        """Refuse: no rank can go back yet."""
        raise ParallelRefused("a rollback", "end the session and resume the run")

    def freeze(self, reason: str) -> None:
        """Refuse; rank 0 decides what grows."""
        raise ParallelRefused("a freeze", RANK_0)

    def thaw(self, reason: str = "") -> bool:
        """Refuse; rank 0 decides what grows."""
        raise ParallelRefused("a thaw", RANK_0)

    def step(self, loss: Tensor, batch: object = None) -> None:
        """Note one optimizer step, let the growing seeds learn from it, and make the changes that rank 0 makes.

        Raises:
            SessionClosed: outside the `with` block.
            BatchMissing: there is an objective, and no *batch*.
            HostUnseen, CompiledHost, SiteUnusable: as on rank 0.
        """
        self._open_moment()
        objective = self._growth.objective_on(batch)
        self._growth.end_glance()
        self._losses.append(loss.detach())
        self._steps += 1
        self.global_step += 1
        self._growth.step(self.global_step, objective)
        self._reader.show(self._told().shown)

    def end_epoch(self) -> EpochFacts:
        """End an epoch: wait for what rank 0 measures and decides, make its changes, and compare the models.

        Raises:
            SessionClosed: outside the `with` block.
            NothingTrained: no step was noted since the last epoch's end.
            RanksDiffer: the models differ.
        """
        moment = self._open_moment()
        if not self._steps:
            raise NothingTrained(moment.epoch + 1)
        self._growth.close_windows(self._script.seed)
        loss = float(torch.stack(self._losses).double().mean()) if self._losses else math.nan
        self._ranks.heard(reported(loss, self._script.stateful))
        same_buffers(self._ranks, self._model)
        told = self._told()
        self._reader.show(told.shown)
        self._growth.new_epoch()
        self.facts, self.decisions = EpochFacts.FromString(told.facts), told.decisions
        self.epoch, self._losses, self._steps = self.facts.at.epoch, [], 0
        demand_alike(self._ranks, self._model, self._growth, f"the model after epoch {self.epoch}")
        return self.facts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave with the others; after an error, at once."""
        if not self._open:
            return
        self._open = False
        try:
            if kind is None:
                self._reader.show(self._told().shown)
                demand_alike(self._ranks, self._model, self._growth, "the model at the end")
        finally:
            self._close()
        if kind is None:
            self._ranks.leave()

    def _told(self) -> Told:
        return msgspec.msgpack.decode(self._ranks.told(b""), type=Told)
