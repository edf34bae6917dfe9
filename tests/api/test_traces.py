"""One trace per fence: whatever a decision causes, in whichever process and at whichever later step, is found by it."""

from collections import defaultdict

from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRequested
from esper.leyline.v1.policy_pb2 import DecisionMade
from esper.leyline.v1.run_pb2 import EpochEnded
from esper.leyline.v1.seed_pb2 import KernelAttached, SeedGerminated
from eventstore.store import Recorded
from tests.api.scripted_log import Run, ScriptedLog


def trace_of(recorded: Recorded) -> str:
    return recorded.context.traceparent.split("-")[1]


def test_what_an_epochs_fence_records_is_one_trace_and_another_epochs_another(log: ScriptedLog):
    Run(log).to(4)
    traces = defaultdict[int, set[str]](set)
    for recorded in log.recorded():
        match recorded.event:
            case EpochEnded(facts=facts):
                traces[facts.at.epoch].add(trace_of(recorded))
            case DecisionMade(at=at):
                traces[at.epoch].add(trace_of(recorded))
            case _:
                pass
    assert [len(found) for found in traces.values()] == [1] * 4
    assert len(set.union(*traces.values())) == 4


def test_a_seed_its_kernel_and_its_attachment_are_found_by_the_trace_of_the_decision(log: ScriptedLog):
    Run(log).to(3)
    recorded = log.recorded()
    planted = next(one for one in recorded if isinstance(one.event, SeedGerminated))
    of_its_trace = {type(one.event) for one in recorded if trace_of(one) == trace_of(planted)}
    assert of_its_trace >= {EpochEnded, DecisionMade, SeedGerminated, KernelRequested, KernelRegistered, KernelAttached}


def test_every_event_of_a_run_belongs_to_a_trace(log: ScriptedLog):
    Run(log).to(3).end()
    assert all(len(trace_of(recorded)) == 32 for recorded in log.recorded())
