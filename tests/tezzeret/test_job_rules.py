"""Given what happened to a compile job, when something is asked of it, then this follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper.leyline.decider import RuleBroken
from esper.leyline.v1.job_pb2 import (
    CompileAttemptFailed,
    CompileAttemptStarted,
    CompileBlueprint,
    CompiledKernel,
    CompileJobQuarantined,
    CompileJobQueued,
    CompileStageCompleted,
    CompileStageTiming,
    FailCompileAttempt,
    FinishCompile,
    KernelCompiled,
    StartCompileAttempt,
)
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.rules.job import JOB, ORPHANS_AT_MOST, JobCommand, JobEvent, JobRuleBroken, StaleForge

SPEC = KernelSpec(blueprint_id="BP021")
COMPILE = CompileBlueprint(spec=SPEC, requester="urza")
QUEUED = CompileJobQueued(spec=SPEC, requester="urza")
STARTED = CompileAttemptStarted(forge_epoch=1, attempt=1, timeout_s=60.0)
FAILED = CompileAttemptFailed(attempt=1, reason="crash", will_retry=True)
KERNEL = CompiledKernel(kernel_id="k1", stages=[CompileStageTiming(duration_ms=3.0)])


def start(epoch: int) -> StartCompileAttempt:
    return StartCompileAttempt(forge_epoch=epoch, timeout_s=60.0)


def finish(epoch: int, attempt: int, kernel: CompiledKernel = KERNEL) -> FinishCompile:
    return FinishCompile(forge_epoch=epoch, attempt=attempt, kernel=kernel)


def fail(epoch: int, attempt: int, reason: str = "crash") -> FailCompileAttempt:
    return FailCompileAttempt(forge_epoch=epoch, attempt=attempt, reason=reason)


def when(command: JobCommand, *history: JobEvent) -> list[JobEvent]:
    return JOB.decide(JOB.fold(history), command)


def test_a_job_is_queued_once():
    assert when(COMPILE) == [QUEUED]
    assert when(COMPILE, QUEUED) == []


def test_a_key_has_one_specification():
    with pytest.raises(JobRuleBroken, match="another specification"):
        when(CompileBlueprint(spec=KernelSpec(blueprint_id="BP002")), QUEUED)


def test_attempts_are_counted():
    assert when(start(1), QUEUED) == [STARTED]
    assert when(start(1), QUEUED, STARTED, FAILED) == [CompileAttemptStarted(forge_epoch=1, attempt=2, timeout_s=60.0)]


def test_a_running_job_is_not_started_again():
    with pytest.raises(JobRuleBroken, match="a running job cannot StartCompileAttempt"):
        when(start(1), QUEUED, STARTED)


def test_stages_and_kernel_are_one_decision():
    assert when(finish(1, 1), QUEUED, STARTED) == [
        CompileStageCompleted(attempt=1, timing=KERNEL.stages[0]),
        KernelCompiled(attempt=1, kernel=KERNEL, spec=SPEC),
    ]


def test_a_compiled_job_is_over():
    done = (QUEUED, STARTED, *when(finish(1, 1), QUEUED, STARTED))
    assert when(COMPILE, *done) == when(finish(1, 1), *done) == []
    for command in (start(2), fail(1, 1), finish(1, 1, CompiledKernel(kernel_id="k2"))):
        with pytest.raises(JobRuleBroken):
            when(command, *done)


def test_the_second_failure_quarantines():
    again = CompileAttemptStarted(forge_epoch=1, attempt=2)
    assert when(fail(1, 1), QUEUED, STARTED) == [FAILED]
    assert when(fail(1, 2, "timeout"), QUEUED, STARTED, FAILED, again) == [
        CompileAttemptFailed(attempt=2, reason="timeout", will_retry=False),
        CompileJobQuarantined(attempts=2, last_reason="timeout"),
    ]


def test_an_older_forge_is_fenced_out():
    taken_over = (
        QUEUED,
        STARTED,
        CompileAttemptFailed(attempt=1, reason="orphaned", will_retry=True),
        CompileAttemptStarted(forge_epoch=2, attempt=2),
    )
    for command in (finish(1, 1), finish(1, 2), fail(1, 1), fail(1, 2)):
        with pytest.raises(StaleForge):
            when(command, *taken_over)
    with pytest.raises(StaleForge, match="forge 2 has taken over from forge 1"):
        when(start(1), *taken_over, CompileAttemptFailed(attempt=2, reason="crash", will_retry=True))


def test_only_a_newer_forge_finds_an_attempt_orphaned():
    assert when(fail(2, 1, "orphaned"), QUEUED, STARTED) == [
        CompileAttemptFailed(attempt=1, reason="orphaned", will_retry=True)
    ]
    with pytest.raises(JobRuleBroken, match="only a newer forge"):
        when(fail(1, 1, "orphaned"), QUEUED, STARTED)


def test_orphans_cost_no_attempt_but_are_not_endless():
    history: list[JobEvent] = [QUEUED]
    for life in range(1, ORPHANS_AT_MOST + 1):
        history += when(start(life), *history)
        history += when(fail(life + 1, life, "orphaned"), *history)
    assert JOB.fold(history).status == "quarantined"
    assert JOB.fold(history[:-2]).status == "running"


commands = st.one_of(
    st.just(COMPILE),
    st.builds(start, st.integers(1, 3)),
    st.builds(finish, st.integers(1, 3), st.integers(1, 4)),
    st.builds(fail, st.integers(1, 3), st.integers(1, 4), st.sampled_from(["crash", "timeout", "orphaned"])),
)


@given(st.lists(commands, max_size=30))
def test_a_key_is_compiled_at_most_once_whatever_is_said(asked: list[JobCommand]):
    history: list[JobEvent] = []
    for command in asked:
        try:
            history += when(command, *history)
        except RuleBroken:
            continue
    compiled = [event for event in history if isinstance(event, KernelCompiled)]
    quarantined = [event for event in history if isinstance(event, CompileJobQuarantined)]
    assert len(compiled) + len(quarantined) <= 1
