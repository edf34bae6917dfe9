"""A short run, told through the real rules: one seed is kept, one is culled by its gate."""

from itertools import count

from google.protobuf.message import Message

from actors.dispatch import dispatch
from esper.kasmina.rules.seed import SEED
from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import (
    AlphaCurve,
    BlendMode,
    DecisionAction,
    EngineVerdict,
    SeedLifecycleStage,
    SiteKind,
)
from esper.leyline.v1.kernel_pb2 import KernelSpec, RegisterKernel, RequestKernel
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    CheckpointSeed,
    CommitCheckpoint,
    EndEpoch,
    EpochFacts,
    FinishRun,
    RunFacts,
    RunSummary,
    StartRun,
)
from esper.leyline.v1.seed_pb2 import (
    AttachKernel,
    BeginBlending,
    BeginProbation,
    BeginShadowing,
    CompleteRamp,
    FossilizeSeed,
    GerminateSeed,
    RegisterSlot,
)
from esper.leyline.v1.site_pb2 import Moment, Site, SiteShape
from esper.tolaria.rules.run import RUN
from esper.urza.rules.kernel import KERNEL
from eventstore.store import Context, EventStore, Recorded, StreamName

RUN_ID = "f3a1" + "0" * 28
START_NS = 1_790_000_000_000_000_000
SHAPE = SiteShape(
    input_kind=SiteKind.SITE_KIND_VECTOR,
    input_size=[16],
    output_kind=SiteKind.SITE_KIND_VECTOR,
    output_size=[26],
    dtype="float32",
)
G0 = {"blueprint_known": 1, "kind_supported": 1, "parameters_in_bounds": 1, "shape_known": 1, "live_seeds": 0}
G1 = {"checksum_verified": 1, "guard_verified": 1, "output_shape_ok": 1, "output_finite": 1, "identity_error": 0}
G1 |= {"parameter_mismatch": 0, "shared_parameters": 0, "isolation_violations": 0}
G2 = {"epochs_in_stage": 2, "r_squared": 0.31, "predicted_loss_decrease": 0.02, "best_alpha": 1, "probe_gain": 0.04}
G2 |= {"weights_moved": 1, "nonfinite_batches": 0, "isolation_violations": 0}
G3 = {"ramp_complete": 1, "alpha_error": 0, "io_contract_ok": 1, "rms_ratio": 0.4, "nonfinite_batches": 0}
G4 = {"shadow_probes": 3, "shadow_nonfinite": 0, "score_drop": 0.0, "isolation_violations": 0}
LAST = {"contribution": 0.05, "epochs_in_stage": 5, "alpha_error": 0, "nonfinite_batches": 0, "isolation_violations": 0}


class Teller:
    """Writes a run into a store, one command after the other, each a second after the last."""

    def __init__(self, store: EventStore, run_id: str = RUN_ID) -> None:
        self.store, self.run_id = store, run_id
        self._ticks = count()

    async def tell(
        self, rules: Decider[object, object, object], stream: StreamName, command: Message, cause: str = ""
    ) -> tuple[Recorded, ...]:
        """Answer *command* by the real rules and return what was recorded."""
        appended = await dispatch(self.store, rules, stream, command, self.context(command, cause))
        assert appended is not None
        return appended.events

    async def record(self, stream: StreamName, *events: Message, cause: str = "") -> tuple[Recorded, ...]:
        """Append *events* whatever the rules say: how history would look if somebody had broken them."""
        written = await self.store.read_stream(stream)
        appended = await self.store.append(
            stream, events, expected=len(written), context=self.context(events[0], cause)
        )
        return appended.events

    def context(self, message: Message, cause: str) -> Context:
        """Return a context with the next id and time."""
        tick = next(self._ticks)
        return Context(
            command_id=f"{self.run_id[:8]}{tick:024x}",
            command_type=message.DESCRIPTOR.full_name,
            recorded_at_ns=START_NS + tick * 1_000_000_000,
            actor="tolaria",
            causation_id=cause,
            run_id=self.run_id,
        )

    @property
    def run(self) -> StreamName:
        return StreamName("run", self.run_id)

    def seed(self, slot: str) -> StreamName:
        """Return the stream of one slot."""
        return StreamName("seed", f"{self.run_id}-{slot}")

    async def start(self) -> None:
        """Begin the run with two slots."""
        sites = [Site(seed_id="s0", label="a -> b", exit_module="b"), Site(seed_id="s1", label="b", exit_module="b")]
        facts = RunFacts(model_class="tests.Net", host_parameters=1000, sites=sites, data="letters")
        await self.tell(RUN, self.run, StartRun(facts=facts, checkpoint=Checkpoint(checkpoint_id="c0")))
        for site in sites:
            await self.tell(SEED, self.seed(site.seed_id), RegisterSlot(site=site))

    async def epoch(self, number: int) -> str:
        """End an epoch of ten steps and return the event's id."""
        at = Moment(step=10 * number, epoch=number)
        facts = EpochFacts(at=at, steps=10, train_loss=2.0 / number, score=0.5 + number / 100, model_parameters=1000)
        return (await self.tell(RUN, self.run, EndEpoch(facts=facts)))[0].event_id

    async def decide(self, action: DecisionAction, seed_id: str, epoch: int, cause: str) -> str:
        """Record a decision of the controller and return its event's id."""
        decision = DecisionMade(
            at=Moment(step=10 * epoch, epoch=epoch),
            action=action,
            seed_id=seed_id,
            blueprint_id="BP021",
            reason="the host wants more here",
            inputs={"pressure": 0.31},
            thresholds={"pressure": 0.05},
            policy_version="heuristic-1",
        )
        return (await self.record(StreamName("policy", self.run_id), decision, cause=cause))[0].event_id

    async def germinate(self, slot: str, epoch: int, cause: str) -> str:
        """Plant a seed and return the id of its germination."""
        command = GerminateSeed(
            at=Moment(step=10 * epoch, epoch=epoch),
            blueprint_id="BP021",
            parameters={"hidden": 4.0},
            blend_mode=BlendMode.BLEND_MODE_RESIDUAL,
            shape=SHAPE,
            kernel_key=f"key{slot}",
            evidence=G0,
        )
        return (await self.tell(SEED, self.seed(slot), command, cause))[-1].event_id

    async def kernel(self, slot: str, cause: str) -> str:
        """Ask for a seed's kernel, register it, and return the registration's event id."""
        stream, spec = StreamName("kernel", f"key{slot}"), KernelSpec(blueprint_id="BP021", shape=SHAPE)
        request = RequestKernel(spec=spec, request_id=f"r{slot}", run_id=self.run_id, seed_id=slot)
        asked = await self.tell(KERNEL, stream, request, cause)
        verdict = EngineVerdict.ENGINE_VERDICT_EAGER
        found = RegisterKernel(kernel_id=f"kernel{slot}", job_id="j", spec=spec, bytes=2048, verdict=verdict)
        return (await self.tell(KERNEL, stream, found, asked[0].event_id))[0].event_id

    async def attach(self, slot: str, step: int, cause: str) -> str:
        """Attach the seed's kernel, so that it trains."""
        at = Moment(step=step, epoch=step // 10)
        command = AttachKernel(at=at, kernel_id=f"kernel{slot}", weights_sha256="w", parameter_count=64, evidence=G1)
        return (await self.tell(SEED, self.seed(slot), command, cause))[-1].event_id

    async def checkpoint(self, epoch: int, *rows: CheckpointSeed) -> None:
        """Commit a checkpoint whose map holds *rows*."""
        at = Moment(step=10 * epoch, epoch=epoch)
        checkpoint = Checkpoint(checkpoint_id=f"c{epoch}", at=at, seeds=rows, bytes=4096, model_sha256="m" * 64)
        await self.tell(RUN, self.run, CommitCheckpoint(checkpoint=checkpoint))


async def tell_story(store: EventStore, run_id: str = RUN_ID) -> Teller:
    """Write the whole story into *store*: s0 is kept after twelve epochs, s1 culled at gate G2 in the fifth."""
    teller = Teller(store, run_id)
    await teller.start()
    for slot, epoch in (("s0", 1), ("s1", 2)):
        seen = await teller.epoch(epoch)
        decided = await teller.decide(DecisionAction.DECISION_ACTION_GERMINATE, slot, epoch, seen)
        planted = await teller.germinate(slot, epoch, decided)
        await teller.attach(slot, 10 * epoch + 1, await teller.kernel(slot, planted))
    await _judge_s1(teller)
    await _keep_s0(teller)
    row = CheckpointSeed(seed_id="s0", generation=1, stage=SeedLifecycleStage.SEED_STAGE_FOSSILIZED)
    row.blueprint_id, row.kernel_id, row.version = "BP021", "kernels0", 15
    row.parameters["hidden"] = 4.0
    await teller.checkpoint(12, row)
    summary = RunSummary(at=Moment(step=121, epoch=12), score=0.9, parameters_before=1000, parameters_after=1064)
    summary.germinated, summary.culled = 2, 1
    await teller.tell(RUN, teller.run, FinishRun(summary=summary))
    return teller


async def _judge_s1(teller: Teller) -> None:
    for epoch in (3, 4):
        seen = await teller.epoch(epoch)
    decided = await teller.decide(DecisionAction.DECISION_ACTION_BLEND, "s1", 4, seen)
    command = BeginBlending(
        at=Moment(step=41, epoch=4), alpha_target=1.0, ramp_steps=10, evidence=G2 | {"probe_gain": -0.01}
    )
    await teller.tell(SEED, teller.seed("s1"), command, decided)


async def _keep_s0(teller: Teller) -> None:
    stream, seen = teller.seed("s0"), await teller.epoch(5)
    decided = await teller.decide(DecisionAction.DECISION_ACTION_BLEND, "s0", 5, seen)
    at = Moment(step=51, epoch=5)
    curve = AlphaCurve.ALPHA_CURVE_LINEAR
    blend = BeginBlending(at=at, alpha_target=1.0, curve=curve, ramp_steps=10, evidence=G2)
    begun = (await teller.tell(SEED, stream, blend, decided))[-1].event_id
    await teller.tell(SEED, stream, CompleteRamp(at=Moment(step=61, epoch=6)), begun)
    await teller.tell(SEED, stream, BeginShadowing(at=Moment(step=62, epoch=6), evidence=G3))
    await teller.tell(SEED, stream, BeginProbation(at=Moment(step=65, epoch=6), evidence=G4))
    for epoch in range(6, 13):
        await teller.epoch(epoch)
    await teller.tell(SEED, stream, FossilizeSeed(at=Moment(step=121, epoch=12), evidence=LAST))
