"""A session that rides along in a training loop which somebody else owns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from esper.api.attach import attach
from esper.api.callbacks.errors import LossUnseen, TrainerAstray
from esper.api.evaluation import Evaluate
from esper.api.session import Session
from esper.api.settings import GrowthSettings
from esper.tolaria.checkpoint import Stateful


class Terms(TypedDict, total=False):
    """What a callback hands on to `esper.attach`, which says what each of it means."""

    log: str
    folder: str | Path
    resume: str | None
    seed: int
    controller: str | None
    settings: GrowthSettings | None
    stateful: Mapping[str, Stateful | torch.Generator]
    data: str
    telemetry: bool
    say: Callable[[str], None] | None
    retrain: str | None


class Passenger:
    """Attaches when the loop called *name* begins, counts its optimizer steps, and ends its epochs.

    An epoch is ended when the next one begins, or the training ends: evaluations, schedulers and checkpoints of the
    loop's own have been by then, so that a resumed training finds everything as they left it.
    """

    def __init__(self, name: str, evaluate: Evaluate, terms: Terms) -> None:
        self.name, self.terms = name, terms
        self.session: Session | None = None
        self._evaluate = evaluate
        self._parts: list[Tensor] = []
        self._stepped = False

    def begin(self, model: nn.Module, optimizer: Optimizer, stateful: Mapping[str, Stateful]) -> Session:
        """Attach *model*; *stateful* is saved with the run, beside what the user named. Raises as `attach` does."""
        self.interrupt(None)
        terms: Terms = {**self.terms, "stateful": {**self.terms.get("stateful", {}), **stateful}}
        self._parts, self._stepped = [], False
        self.session = attach(model, optimizer, evaluate=self._evaluate, **terms)
        return self.session

    def demand_step(self, step: int, cure: str) -> None:
        """Refuse a loop that is at another optimizer *step* than the run.

        Raises:
            TrainerAstray: it is; *cure* says what to do.
        """
        if self.session is not None and self.session.global_step != step:
            astray = TrainerAstray(self.name, step, self.session.run_id, self.session.global_step, cure)
            self.interrupt(astray)
            raise astray

    def part(self, loss: Tensor) -> None:
        """Note one backward pass's part of the coming optimizer step's loss."""
        self._parts.append(loss.detach())

    def step(self, cure: str) -> None:
        """Follow one optimizer step.

        Raises:
            LossUnseen: no part of its loss was noted; *cure* says what to do.
        """
        if self.session is None:
            return
        if not self._parts:
            raise LossUnseen(cure)
        loss, self._parts = torch.stack(self._parts).sum(), []
        self.session.step(loss)
        self._stepped = True

    def end_epoch(self) -> None:
        """End the epoch, if a step was made in it. Parts of a step that was never made are dropped."""
        self._parts = []
        if self.session is not None and self._stepped:
            self.session.end_epoch()
            self._stepped = False

    def end(self) -> None:
        """End the last epoch and the run."""
        self.end_epoch()
        session, self.session = self.session, None
        if session is not None:
            session.__exit__(None, None, None)

    def interrupt(self, error: BaseException | None) -> None:
        """Leave the session as one that failed: the run can be resumed."""
        session, self.session = self.session, None
        if session is not None:
            session.__exit__(type(error) if error else KeyboardInterrupt, error, None)
