"""What may happen to one compile job, and what each happening means.

new ── CompileBlueprint ─→ queued ── StartCompileAttempt ─→ running ── FinishCompile ─→ compiled (for ever)
                             ↑                                 │
                             └── FailCompileAttempt, may retry ┴── no attempt left ─→ quarantined (for ever)
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from esper.leyline.decider import Decider, RuleBroken
from esper.leyline.v1.job_pb2 import (
    CompileAttemptFailed,
    CompileAttemptStarted,
    CompileBlueprint,
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

JobCommand: TypeAlias = CompileBlueprint | StartCompileAttempt | FinishCompile | FailCompileAttempt
JobEvent: TypeAlias = (
    CompileJobQueued
    | CompileAttemptStarted
    | CompileStageCompleted
    | KernelCompiled
    | CompileAttemptFailed
    | CompileJobQuarantined
)

FAILURES_AT_MOST = 2
# An orphaned attempt says that the forge died, not that the blueprint is bad; but one that kills it each time must end.
ORPHANS_AT_MOST = 32
ORPHANED = "orphaned"


class Job(msgspec.Struct, frozen=True):
    """One kernel key's way through the forge. `attempt` and `forge_epoch` are those of the newest attempt."""

    status: Literal["new", "queued", "running", "compiled", "quarantined"] = "new"
    spec: KernelSpec = KernelSpec()
    attempt: int = 0
    forge_epoch: int = 0
    failures: int = 0
    orphans: int = 0
    kernel_id: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in ("compiled", "quarantined")


class JobRuleBroken(RuleBroken):
    """A command that the job's state forbids."""

    def __init__(self, job: Job, command: JobCommand, why: str) -> None:
        self.status, self.command, self.why = job.status, type(command).__name__, why
        super().__init__(f"a {job.status} job cannot {self.command}: {why}")


class StaleForge(JobRuleBroken):
    """The command comes from a forge, or for an attempt, that another has replaced. Stop working on the job."""


def decide(job: Job, command: JobCommand) -> list[JobEvent]:
    """Answer *command* with the events it causes; raise `JobRuleBroken` if the job's state forbids it."""
    match command:
        case CompileBlueprint():
            if job.status == "new":
                return [CompileJobQueued(spec=command.spec, requester=command.requester)]
            if job.spec != command.spec:
                raise JobRuleBroken(job, command, "it is the job of another specification")
            return []
        case StartCompileAttempt():
            return _start(job, command)
        case FinishCompile():
            if job.status == "compiled" and job.kernel_id == command.kernel.kernel_id:
                return []
            _same_attempt(job, command)
            return [
                *_stages(job.attempt, command.kernel.stages),
                KernelCompiled(attempt=job.attempt, kernel=command.kernel, spec=job.spec),
            ]
        case FailCompileAttempt():
            return _fail(job, command)
        case _:
            assert_never(command)


def evolve(job: Job, event: JobEvent) -> Job:
    """Fold one recorded fact into *job*. Total: history is never refused."""
    match event:
        case CompileJobQueued():
            return replace(job, status="queued", spec=event.spec)
        case CompileAttemptStarted():
            return replace(job, status="running", attempt=event.attempt, forge_epoch=event.forge_epoch)
        case CompileStageCompleted():
            return job
        case KernelCompiled():
            return replace(job, status="compiled", kernel_id=event.kernel.kernel_id)
        case CompileAttemptFailed(reason=reason):
            orphaned = reason == ORPHANED
            return replace(job, status="queued", failures=job.failures + (not orphaned), orphans=job.orphans + orphaned)
        case CompileJobQuarantined():
            return replace(job, status="quarantined")
        case _:
            assert_never(event)


JOB: Decider[Job, JobCommand, JobEvent] = Decider("CompileJob", Job(), decide, evolve)


def _start(job: Job, command: StartCompileAttempt) -> list[JobEvent]:
    if command.forge_epoch < job.forge_epoch:
        raise StaleForge(job, command, f"forge {job.forge_epoch} has taken over from forge {command.forge_epoch}")
    if job.status != "queued":
        raise JobRuleBroken(job, command, "it is not waiting for an attempt")
    started = CompileAttemptStarted(
        forge_epoch=command.forge_epoch, attempt=job.attempt + 1, timeout_s=command.timeout_s
    )
    return [started]


def _fail(job: Job, command: FailCompileAttempt) -> list[JobEvent]:
    if command.reason == ORPHANED:
        if job.status != "running" or command.attempt != job.attempt or command.forge_epoch <= job.forge_epoch:
            raise JobRuleBroken(job, command, "only a newer forge can find a running attempt orphaned")
    else:
        _same_attempt(job, command)
    failures = job.failures + (command.reason != ORPHANED)
    orphans = job.orphans + (command.reason == ORPHANED)
    will_retry = failures < FAILURES_AT_MOST and orphans < ORPHANS_AT_MOST
    failed = CompileAttemptFailed(
        attempt=job.attempt, reason=command.reason, detail=command.detail, will_retry=will_retry
    )
    stages = _stages(job.attempt, command.stages)
    if will_retry:
        return [*stages, failed]
    return [*stages, failed, CompileJobQuarantined(attempts=job.attempt, last_reason=command.reason)]


def _same_attempt(job: Job, command: FinishCompile | FailCompileAttempt) -> None:
    if job.status != "running" or (command.attempt, command.forge_epoch) != (job.attempt, job.forge_epoch):
        why = f"attempt {command.attempt} of forge {command.forge_epoch} is not the one that runs"
        raise StaleForge(job, command, why)


def _stages(attempt: int, timings: Sequence[CompileStageTiming]) -> list[JobEvent]:
    return [CompileStageCompleted(attempt=attempt, timing=timing) for timing in timings]
