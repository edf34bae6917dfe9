"""`esper why`: from an event back to what caused it, with the numbers that decided at each turn."""

from collections.abc import Iterator, Mapping

import msgspec
from google.protobuf.message import Message

from esper.kasmina.rules.gates import GateLimits, checks
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.leyline.v1.run_pb2 import EpochEnded
from esper.leyline.v1.seed_pb2 import GateEvaluated
from eventstore.store import Recorded
from ops.cli.chronicle import SHORT, Chronicle, moment_of, read_chronicle, seed_of, short_type, wall_time
from ops.cli.history import stream_shown
from ops.cli.log import open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say
from ops.cli.sentences import sentence


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A measured value beside the limit it was held against; None where there is none of either."""

    name: str
    value: float | None = None
    relation: str = ""
    limit: float | None = None
    holds: bool | None = None

    def shown(self, width: int) -> str:
        """Return one line for people, the name padded to *width*."""
        value = "not measured" if self.value is None else f"{self.value:.6g}"
        limit = "" if self.limit is None else f"{self.relation or 'limit'} {self.limit:g}"
        mark = {True: "ok", False: "FAILED", None: ""}[self.holds]
        return f"{self.name:<{width}}  {value:<12}  {limit:<12}  {mark}".rstrip()


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One event on the way back. `depth` counts causes; events of one decision share it.

    `role` is "event" for the one asked about, "same decision" for what was recorded with it, "cause" for what led
    to it. `command` and `actor` tell what was asked for when this event was decided, and who decided.
    """

    depth: int
    role: str
    position: int
    index: int
    label: str
    type: str
    stream: str
    about: str
    sentence: str
    epoch: int | None
    step: int | None
    recorded_at: str
    actor: str
    command: str
    event_id: str
    traceparent: str
    numbers: tuple[Number, ...]


async def why(run: str, position: str, *, options: Options = DEFAULTS) -> None:
    """Walk back from an event to what caused it, with the numbers that decided at each turn.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        position: The event's position, as `esper events` shows it: 1042, or 1042.1 within one decision.
    """
    async with open_log(options) as log:
        chronicle = await read_chronicle(log.store)
    run_id = chronicle.run_named(run)
    asked = chronicle.at(run_id, position)
    links = tuple(links_back(chronicle, asked))
    if options.json:
        print_json(links)
        return
    for link in links:
        _show(link)
    before = asked.position - 1
    say(f"the state before it: esper replay {run_id[:SHORT]} --at {before}")
    if seed := seed_of(asked):
        say(f"all of this slot: esper events {run_id[:SHORT]} --seed {seed}")


def links_back(chronicle: Chronicle, asked: Recorded) -> Iterator[Link]:
    """Yield *asked*, what was decided along with it, then its cause in the same way, back to the root."""
    event: Recorded | None = asked
    depth = 0
    while event is not None:
        yield _link(chronicle, event, depth, "cause" if depth else "event")
        for sibling in _decided_along(chronicle, event):
            yield _link(chronicle, sibling, depth, "same decision")
        cause = chronicle.cause(event)
        # History only points backwards; anything else is for --verify to report, not to follow for ever.
        event = cause if cause is not None and cause.position < event.position else None
        depth += 1


def numbers_of(event: Message) -> tuple[Number, ...]:
    """Return the measured numbers that *event* was decided by, or that it reports."""
    match event:
        case GateEvaluated():
            return tuple(_gate_numbers(event))
        case DecisionMade(inputs=inputs, thresholds=thresholds):
            return tuple(_against(inputs, thresholds))
        case EpochEnded(facts=facts):
            score = {"score": facts.score} if facts.HasField("score") else {}
            measured = {"train_loss": facts.train_loss, **score, **facts.metrics}
            pressures = {f"{one.seed_id}.r_squared": one.r_squared for one in facts.pressures}
            gains = {f"{one.seed_id}.predicted_loss_decrease": one.predicted_loss_decrease for one in facts.pressures}
            return tuple(_against({**measured, **pressures, **gains}, {}))
        case _:
            return ()


def _decided_along(chronicle: Chronicle, event: Recorded) -> list[Recorded]:
    """Return what a slot recorded before *event* in the same decision, such as the gate's verdict, latest first."""
    if event.stream.aggregate != "seed":
        return []
    return [one for one in reversed(chronicle.commit_of(event)) if one.index < event.index]


def _gate_numbers(verdict: GateEvaluated) -> Iterator[Number]:
    relations = {one.input: one.relation for one in checks(verdict.gate, verdict.profile, GateLimits())}
    for name in sorted(verdict.thresholds):
        yield Number(
            name=name,
            value=verdict.inputs.get(name),
            relation=relations.get(name, ""),
            limit=verdict.thresholds[name],
            holds=name in verdict.checks_passed,
        )


def _against(measured: Mapping[str, float], limits: Mapping[str, float]) -> Iterator[Number]:
    for name in sorted({*measured, *limits}):
        yield Number(name=name, value=measured.get(name), limit=limits.get(name))


def _link(chronicle: Chronicle, recorded: Recorded, depth: int, role: str) -> Link:
    moment = moment_of(recorded.event)
    return Link(
        depth=depth,
        role=role,
        position=recorded.position,
        index=recorded.index,
        label=chronicle.label(recorded),
        type=short_type(recorded.event_type),
        stream=str(recorded.stream),
        about=stream_shown(recorded),
        sentence=sentence(recorded.event),
        epoch=moment.epoch if moment else None,
        step=moment.step if moment else None,
        recorded_at=wall_time(recorded.context.recorded_at_ns),
        actor=recorded.context.actor,
        command=short_type(recorded.context.command_type),
        event_id=recorded.event_id,
        traceparent=recorded.context.traceparent,
        numbers=numbers_of(recorded.event),
    )


def _show(link: Link) -> None:
    margin = "   " * link.depth
    branch = {"event": "", "cause": "└ ", "same decision": "├ "}[link.role]
    when = "" if link.epoch is None else f"  epoch {link.epoch} · step {link.step}"
    head = f"{margin}{branch}{link.label}  {link.type}  {link.about}{when}"
    print_line(head, "bold" if link.role == "event" else "")
    inner = margin + "  "
    print_line(f"{inner}{link.sentence}")
    if link.role != "same decision":
        print_line(f"{inner}decided by {link.actor}, asked to {link.command}", "dim")
    width = max((len(number.name) for number in link.numbers), default=0)
    for number in link.numbers:
        print_line(f"{inner}  {number.shown(width)}", {False: "red", True: "green", None: ""}[number.holds])
