"""A run on a log that fails by script, with kernels that need no forge; for the tests of fences and of resuming."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from google.protobuf.message import Message
from safetensors.torch import save
from torch import nn

import esper
from actors.bundles import sign_with
from actors.clock import SystemClock
from actors.dispatch import dispatch
from actors.ids import derived_id
from actors.loop import BackgroundLoop
from actors.outbox import LIMIT_BYTES
from actors.place import Place
from actors.streams import seed_stream
from actors.verification import Verified, verify_run
from esper.api.attach import begin
from esper.api.growth import PLANTED
from esper.api.logs import OpenLog
from esper.api.script import Script
from esper.api.session import Session
from esper.karn.builders import build
from esper.kasmina.rules.gates import GateLimits
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.canonical import canonical_bytes, kernel_key
from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelSpec, RegisterKernel, RequestKernel
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import ChangeDeferred, EpochEnded
from esper.tamiyo.rules.settings import HeuristicSettings
from esper.tolaria.checkpoint import model_sha256
from esper.urza.bundle import pack
from esper.urza.guard import Guard, ParameterGuard, TensorGuard, guard_bytes, guard_digest
from esper.urza.manifest import GRAPH, GUARD, WEIGHTS, Manifest
from esper.urza.rules.kernel import KERNEL
from eventstore.errors import LogFull, StoreUnavailable
from eventstore.memory import MemoryBus, MemoryStore
from eventstore.store import Appended, CommandRecord, Context, LogIdentity, Recorded, StreamName
from tests.api.hosts import Digits, digits, train_step

SPAN = "0 -> 2"
STEPS = 8
# What an append may do: fail before or after the write, not answer before or after it, be refused for want of room,
# fail and be written when another append has begun (LATE, RELEASES), or be the last thing that a process does.
BEFORE, AFTER, HANGS_BEFORE, HANGS_AFTER = "before", "after", "hangs before", "hangs after"
FULL, LATE, RELEASES, DIES_BEFORE, DIES_AFTER = "full", "late", "releases", "dies before", "dies after"

# A whole life in six short epochs: what must be shown stays what it is, only for how long is less.
FAST = esper.GrowthSettings(
    gates=GateLimits(min_training_epochs=1, max_score_drop=1.0, min_probation_epochs=1, min_contribution=-1.0),
    policy=HeuristicSettings(
        min_epoch=1,
        min_training_epochs=1,
        training_patience_epochs=9,
        ramp_epochs=1,
        min_probation_epochs=1,
        min_contribution=-1.0,
        harm_contribution=-2.0,
        ransom_contribution=2.0,
    ),
    # A busy machine may stand still for a second; what is to time out says so itself.
    decision_wait_s=4.0,
    kernel_wait_s=10.0,
    embargo_epochs=1,
    checkpoint_every_epochs=4,
    seed_learning_rate_ratio=2.0,
)


class Killed(BaseException):
    """The process is no more."""


class ScriptedStore:
    """An event store that does what its inner one does, but for the appends that `script` names by their number."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.appends = 0
        self.script: dict[int, str] = {}
        self.down = False
        self.found: LogIdentity | None = None
        self._late: list[Callable[[], Awaitable[Appended]]] = []

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        """Append, unless the script has something else in mind."""
        self._refuse_if_down()
        self.appends += 1
        mode = self.script.get(self.appends, "")
        write = partial(self.inner.append, stream, events, expected=expected, context=context)
        if mode == RELEASES:
            await self.release()
        elif mode == LATE:
            self._late.append(write)
        elif mode == FULL:
            raise LogFull(str(stream), "maximum bytes exceeded")
        await _fail(mode, BEFORE, HANGS_BEFORE, DIES_BEFORE, LATE)
        appended = await write()
        await _fail(mode, AFTER, HANGS_AFTER, DIES_AFTER)
        return appended

    async def release(self) -> None:
        """Write what was late."""
        late, self._late = self._late, []
        for write in late:
            await write()

    async def read_stream(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        self._refuse_if_down()
        return await self.inner.read_stream(stream, after_version=after_version)

    async def streams(self, aggregate: str) -> Sequence[StreamName]:
        self._refuse_if_down()
        return await self.inner.streams(aggregate)

    def read_all(self, *, after: int = 0, until: int | None = None) -> AsyncGenerator[Recorded, None]:
        self._refuse_if_down()
        return self.inner.read_all(after=after, until=until)

    def read_all_backward(self, *, before: int | None = None, after: int = 0) -> AsyncGenerator[Recorded, None]:
        self._refuse_if_down()
        return self.inner.read_all_backward(before=before, after=after)

    def follow(self, *, after: int = 0, aggregates: Sequence[str] = ()) -> AsyncGenerator[Recorded, None]:
        self._refuse_if_down()
        return self.inner.follow(after=after, aggregates=aggregates)

    async def identity(self) -> LogIdentity:
        self._refuse_if_down()
        return self.found or await self.inner.identity()

    def _refuse_if_down(self) -> None:
        if self.down:
            raise StoreUnavailable("asking", "the server is down")


async def _fail(mode: str, fails: str, hangs: str, dies: str, late: str = "") -> None:
    if mode == hangs:
        await asyncio.Event().wait()
    if mode == dies:
        raise Killed
    if mode in (fails, late) and mode:
        raise StoreUnavailable("appending", f"the script says {mode}")


class Workbench(MemoryBus):
    """A bus on which a request for a kernel is answered at once: the module as Karn builds it, in a real bundle."""

    def __init__(self, store: MemoryStore, place: Place) -> None:
        super().__init__(store)
        self._log, self._place = store, place
        self.answers = True

    async def send(self, record: CommandRecord) -> None:
        await super().send(record)
        if isinstance(record.command, RequestKernel) and self.answers:
            spec = record.command.spec
            kernel = RegisterKernel(kernel_id=_packed(spec, self._place), job_id="workbench", spec=spec)
            for command in (record.command, kernel):
                name = derived_id("workbench", type(command).__name__, kernel_key(spec))
                await dispatch(self._log, KERNEL, record.stream, command, _context(name, record.traceparent))


class ScriptedLog:
    """A log, its loop and its place, which outlive the sessions of a test."""

    durable = False

    def __init__(self, folder: Path, loop: BackgroundLoop) -> None:
        self.place, self.loop = Place.at(folder), loop
        self.memory = MemoryStore(EVENTS, self.place.keys)
        self.store = ScriptedStore(self.memory)
        self.bus = Workbench(self.memory, self.place)

    def read(self, work: Any) -> Any:
        """Run a coroutine of the test's own."""
        return self.loop.call(work, 60)

    def recorded(self) -> list[Recorded]:
        """Return every event, verified."""
        return self.read(_all(self.memory))

    def of(self, *kinds: type[Message]) -> list[Any]:
        """Return every event of those kinds."""
        return [recorded.event for recorded in self.recorded() if isinstance(recorded.event, kinds)]


class Run:
    """One process of a training run on a scripted log; `kill` it by dropping it."""

    def __init__(
        self, log: ScriptedLog, *, resume: str | None = None, sites: Any = (("0", "2"),), **changes: Any
    ) -> None:
        self.log, self.said = log, list[str]()
        self.data = changes.pop("data", None) or few_digits()
        torch.manual_seed(0)
        self.model = esper.wrap(changes.pop("model", None) or narrow(), sites=list(sites))
        self.optimizer = changes.pop("optimizer", torch.optim.AdamW)(self.model.parameters(), 1e-2)
        outbox_bytes = changes.pop("outbox_bytes", LIMIT_BYTES)
        told: dict[str, Any] = {
            "evaluate": self.data.score,
            "seed": 0,
            "controller": "heuristic",
            "settings": FAST,
            "stateful": {},
            "data": "",
            "say": self.said.append,
        } | changes
        script = Script(model=self.model, optimizer=self.optimizer, resume=resume, **told)
        self.session: Session = begin(
            script, OpenLog(log, log.loop, lambda: None, outbox_bytes=outbox_bytes), log.place
        )
        self._checked = dict[str, Seed]()

    @property
    def weights(self) -> str:
        """The digest of everything the model is made of."""
        return model_sha256(self.model)

    def steps(self, count: int = STEPS, each: Callable[["Run"], None] = lambda run: None) -> None:
        """Train *count* steps and do *each* after every one of them."""
        for x, y in list(self.data.batches(32))[:count]:
            self.session.step(train_step(self.model, self.optimizer, x, y))
            each(self)
            self.assert_the_model_shows_a_prefix_of_the_log()

    def to(self, epochs: int, each: Callable[["Run"], None] = lambda run: None) -> "Run":
        """Train until that many epochs have ended."""
        while self.session.epoch < epochs:
            self.steps(each=each)
            self.session.end_epoch()
            self.assert_the_model_shows_a_prefix_of_the_log()
        return self

    def end(self) -> str:
        """Leave the session's `with` block; return the digest of the model as it is then."""
        with self.session:
            pass
        return self.weights

    def seeds(self) -> dict[str, Seed]:
        return self.session._growth.seeds

    def folded(self) -> dict[str, Seed]:
        """Return the seeds as their streams in the log have them."""
        return {
            seed_id: SEED.fold(
                recorded.event  # type: ignore[misc]
                for recorded in self.log.read(self.log.memory.read_stream(seed_stream(self.session.run_id, seed_id)))
            )
            for seed_id in self.seeds()
        }

    def assert_the_model_shows_a_prefix_of_the_log(self) -> None:
        """No event, no mutation: each slot of the live model is in the stage that some version of its stream has."""
        for seed_id, seed in self.seeds().items():
            slot = self.session._growth.slots[seed_id]
            assert slot.stage == (seed.stage if seed.stage in PLANTED else Stage.SEED_STAGE_DORMANT)
            if self._checked.get(seed_id) == seed:
                continue
            stream = self.log.read(self.log.memory.read_stream(seed_stream(self.session.run_id, seed_id)))
            assert seed == SEED.fold(recorded.event for recorded in stream[: seed.version])
            self._checked[seed_id] = seed

    def assert_the_log_is_sound(self) -> None:
        """Each epoch once and in order, deferrals later than decisions, a verified history, and the model's own."""
        epochs = [event.facts.at.epoch for event in self.log.of(EpochEnded)]
        assert epochs == list(range(1, self.session.epoch + 1))
        missed = [event.at.epoch for event in self.log.of(DecisionMissed)]
        assert missed == sorted(set(missed))
        for deferred in self.log.of(ChangeDeferred):
            decided, at = deferred.decided_for, deferred.at
            assert (decided.step, decided.epoch) < (at.step, at.epoch)
        verdict = self.log.read(verify_run(self.log.memory, self.session.run_id))
        assert isinstance(verdict, Verified), verdict
        assert self.folded() == self.seeds()


def few_digits() -> Digits:
    """Return 256 training images and 200 held-out ones."""
    full = digits()
    return Digits(full.train_x[:256], full.train_y[:256], full.test_x[:200], full.test_y[:200])


def breaks_while_blending(run: Any) -> None:
    """Make the first seed's module raise as soon as it is in the forward pass."""
    if run.session.stages[SPAN] == "blending" and run.seeds()["s0"].generation == 1:
        run.session._growth.slots["s0"].module.forward = raises


def poison(run: Any) -> None:
    """Make one step with a batch that is not a number."""
    x, y = next(run.data.batches(32))
    run.session.step(train_step(run.model, run.optimizer, x * math.nan, y))


def rolled_back(run: Any) -> None:
    """Make a batch that is not a number, and a rollback by hand; at the same steps in every process."""
    if run.session.global_step == 26:
        poison(run)
    if run.session.global_step == 45:
        run.session.rollback(reason="to see")


def raises(*_: object) -> None:
    """Stand in for a forward pass that has an error."""
    raise RuntimeError("a test broke it")


def narrow(width: int = 2) -> nn.Sequential:
    """A host that is too small for its data."""
    return nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))


def _packed(spec: KernelSpec, place: Place) -> str:
    module = build(spec.blueprint_id, spec.parameters, spec.shape, spec.init_seed)
    guard = Guard(
        inputs=(TensorGuard(("d0", *spec.shape.input_size), spec.shape.dtype),),
        outputs=(TensorGuard(("d0", *spec.shape.output_size), spec.shape.dtype),),
        parameters=tuple(ParameterGuard(name, tuple(own.shape), "float32") for name, own in module.named_parameters()),
        ranges={"d0": (1, 1024)},
    )
    manifest = Manifest(
        kernel_key=kernel_key(spec),
        spec=canonical_bytes(spec).hex(),
        guard_digest=guard_digest(guard),
        verdict="ENGINE_VERDICT_EAGER",
        eager_fallback=False,
        fallback_reason="",
        compile_ms=1.0,
        eager_ms=(0.5,),
        compiled_ms=(),
        torch_version=spec.torch_version,
        host="0" * 64,
        files={},
    )
    parts = {WEIGHTS: save(dict(module.state_dict())), GUARD: guard_bytes(guard), GRAPH: b'{"code":[],"schema":1}'}
    return pack(msgspec.structs.replace(manifest), parts, place.blobs.put, sign_with(place.keys)).kernel_id


def _context(command_id: str, traceparent: str) -> Context:
    return Context(
        command_id=command_id,
        command_type="workbench",
        recorded_at_ns=SystemClock().now_ns(),
        actor="urza",
        traceparent=traceparent,
    )


async def _all(store: MemoryStore) -> list[Recorded]:
    return [recorded async for recorded in store.read_all()]
