"""What a user of the public face can meet.

EsperError
├── NotWrapped          attach or unwrap before wrap
├── AttachedAlready     the model is in another session, or carries what one has grown
├── ControllerUnknown   there is no controller of that name
├── BatchMissing        there is an objective, and a step was noted without its batch
├── NothingTrained      an epoch ended without a single step
├── EvaluationInvalid   evaluate returned something that is not a score
├── NothingToResume     no such run, or no run at all, in this log
├── RunFinishedAlready  the run to resume has ended
├── RunIsHalted         going back has not helped, and nobody has acknowledged that
├── NothingToAcknowledge no such run, or it is not halted
├── RunHeld             another process trains the run
├── ResumeMismatch      the script differs from the one that started the run
├── RunDiverged         re-executed training gave other numbers than the log holds
├── BakeRefused         a grown model cannot be written as source
├── UnknownRun          no run of that name in this log, or several
├── PackageMissing      something was asked for whose package is not installed
├── NothingToRetrain    no such run to train again
├── RetrainDiverged     training executed again found something else than the record holds
├── ForkIncomplete      the run to resume is a fork whose making was interrupted
├── SettingUnknown      a setting was named that does not exist, or given a value that it does not take
├── NothingToFork       no such run, or it cannot be forked there
├── NothingToLoad       no such run, or no checkpoint of it that early
├── HostMismatch        the model to load into is not built as the run's host was
├── NothingToGoBackTo   the run has no sound checkpoint that fits
├── KernelLost          a kernel that the run's history attached can no longer be verified
├── BlueprintMissing    the run grew from a blueprint of its user's own that this program does not have
└── SessionClosed       the session has ended, or has not begun
"""


class EsperError(Exception):
    """Anything that the public face reports."""


class NotWrapped(EsperError):
    """The model has no growth sites."""

    def __init__(self) -> None:
        super().__init__("this model has no growth sites: call esper.wrap(model, sites=[...]) first")


class AttachedAlready(EsperError):
    """The model belongs to a session already, or carries seeds of one that has ended."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(
            f"this model {why}: end that session first, build the model anew, "
            "or go on with esper.unwrap(model), which keeps what was grown"
        )


class BakeRefused(EsperError):
    """The unwrapped model cannot be written as source code; nothing was written."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"cannot bake: {reason}")


class ControllerUnknown(EsperError):
    """A controller was named that does not exist."""

    def __init__(self, named: str | None, known: str) -> None:
        self.named = named
        super().__init__(f"there is no controller {named!r}: say {known!r}, or None to drive every slot by hand")


class BatchMissing(EsperError):
    """The script's objective is a function of model and batch, and the batch of a step is not known."""

    def __init__(self) -> None:
        super().__init__(
            "attach(..., objective=...) needs the batch of each step: call session.step(loss, batch), where batch is "
            "what your objective takes; nothing was noted of this step"
        )


class NothingTrained(EsperError):
    """An epoch was ended in which no optimizer step was noted."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(
            f"epoch {epoch} ended without a step: call session.step(loss) after every optimizer step, "
            "and end_epoch once when the epoch is over"
        )


class EvaluationInvalid(EsperError):
    """What `evaluate` returned cannot be read as a score."""

    def __init__(self, returned: str) -> None:
        self.returned = returned
        super().__init__(
            f"evaluate(model) returned {returned}: return one number, larger is better, "
            'or a mapping of numbers with such a one under "score"'
        )


class NothingToResume(EsperError):
    """The log holds no run that fits."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        super().__init__(f"no run {wanted!r} in this log: `esper runs` lists them; leave resume out to start a new one")


class UnknownRun(EsperError):
    """The log holds no run that fits, or more than one."""

    def __init__(self, wanted: str, where: str, fitting: int) -> None:
        self.wanted, self.where, self.fitting = wanted, where, fitting
        found = f"{fitting} runs fit {wanted!r}" if fitting else f"there is no run {wanted!r}"
        super().__init__(f"{found} in {where}: `esper runs` lists them")


class PackageMissing(EsperError):
    """Something was asked for that needs a package which is not installed, and that an *extra* of ours may bring."""

    def __init__(self, package: str, extra: str = "") -> None:
        self.package, self.extra = package, extra
        install = f"'esper-growth[{extra}]'" if extra else package
        super().__init__(f"this needs {package}, which is not installed: pip install {install}")


class RunFinishedAlready(EsperError):
    """The run has ended; there is nothing left to do."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} has finished: leave resume out to start a new one")


class RunIsHalted(EsperError):
    """The governor went back as often as it may, and the run is still not well: it is trained no further."""

    def __init__(self, run_id: str, reason: str) -> None:
        self.run_id, self.reason = run_id, reason
        super().__init__(
            f"run {run_id} is halted: {reason}. Lower the learning rate or look at the data, acknowledge it with "
            f'`esper acknowledge {run_id[:12]} "what was done"`, and resume the run'
        )


class NothingToAcknowledge(EsperError):
    """There is no such run, or it is not halted; nothing was recorded."""

    def __init__(self, run: str, why: str) -> None:
        self.run, self.why = run, why
        super().__init__(f"nothing to acknowledge of run {run!r}: {why}")


class RunHeld(EsperError):
    """Another process on this machine has the run's outbox open: it trains the run."""

    def __init__(self, run_id: str, why: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} cannot be resumed yet: {why}")


class ResumeMismatch(EsperError):
    """The script that resumes differs from the one that started the run."""

    def __init__(self, what: str, then: str, now: str) -> None:
        self.what, self.then, self.now = what, then, now
        super().__init__(
            f"cannot resume: {what} was {then} and is now {now}. Resume with the script that began the run"
        )


class RunDiverged(EsperError):
    """Training that was executed again gave other numbers than the log recorded the first time."""

    def __init__(self, epoch: int, what: str, recorded: float, found: float) -> None:
        self.epoch, self.what, self.recorded, self.found = epoch, what, recorded, found
        super().__init__(
            f"epoch {epoch}: {what} was recorded as {recorded!r} and is now {found!r}. The data order, a random stream "
            "outside torch, numpy and random, the thread count or the machine differs; see docs/resuming.md"
        )


class NothingToRetrain(EsperError):
    """The log holds no run that fits."""

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"there is no run {run!r} to train again: `esper runs` lists them")


class RetrainDiverged(EsperError):
    """The first event on record that training, executed again, found otherwise."""

    def __init__(self, position: int, event: str, epoch: int, what: str, recorded: str, found: str) -> None:
        self.position, self.event, self.epoch = position, event, epoch
        self.what, self.recorded, self.found = what, recorded, found
        super().__init__(
            f"position {position} ({event} of epoch {epoch}): {what} was recorded as {recorded} and is now {found}; "
            "see docs/forking.md for what must be the same"
        )


class ForkIncomplete(EsperError):
    """A fork that does not hold the whole history that it was to take over."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} is a fork whose making was interrupted: fork again, and resume that one")


class SettingUnknown(EsperError):
    """A setting's name or value is not one."""

    def __init__(self, name: str, why: str, known: tuple[str, ...]) -> None:
        self.name, self.known = name, known
        super().__init__(f"setting {name!r}: {why}" + (f"; there are {', '.join(known)}" if known else ""))


class NothingToFork(EsperError):
    """The run, or its state at that position, cannot be gone on from by another run."""

    def __init__(self, run: str, why: str) -> None:
        self.run = run
        super().__init__(f"cannot fork run {run!r}: {why}")


class NothingToLoad(EsperError):
    """The log holds no checkpoint that fits."""

    def __init__(self, run: str, why: str) -> None:
        self.run = run
        super().__init__(f"cannot load run {run!r}: {why}")


class HostMismatch(EsperError):
    """The model is another than the run began with; it was not changed."""

    def __init__(self, what: str, then: str, now: str) -> None:
        self.what, self.then, self.now = what, then, now
        super().__init__(f"cannot load: {what} was {then} and is {now}. Build the model as the run's script built it")


class KernelLost(EsperError):
    """A kernel that the run's history attached is no longer what it was."""

    def __init__(self, seed_id: str, kernel_id: str, reason: str) -> None:
        self.seed_id, self.kernel_id, self.reason = seed_id, kernel_id, reason
        super().__init__(f"{seed_id} was grown from kernel {kernel_id}, which now fails: {reason}. Restore its blobs")


class BlueprintMissing(EsperError):
    """A seed was grown from a blueprint of its user's own, which is not registered here, or with another source."""

    def __init__(self, seed_id: str, blueprint_id: str, reason: str) -> None:
        self.seed_id, self.blueprint_id, self.reason = seed_id, blueprint_id, reason
        super().__init__(
            f"{seed_id} was grown from {blueprint_id!r}, a blueprint of its user's own: {reason}. Run the code that "
            "registers it, as it was when the run began, before you go on with the run or load it"
        )


class SessionClosed(EsperError):
    """A call outside the session's `with` block."""

    def __init__(self) -> None:
        super().__init__("the session is closed: call step and end_epoch inside `with esper.attach(...) as session:`")


class NothingToGoBackTo(EsperError):
    """No checkpoint of the run that was found sound fits what was asked for."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        named = f" called {wanted!r}" if wanted else ""
        super().__init__(
            f"this run has no blessed checkpoint{named}: name one by its epoch or its id, as "
            "`esper events RUN --type CheckpointCommitted` lists them"
        )
