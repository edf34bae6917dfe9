"""How a seed learns before it is let in: by functional gradient (growth-method, section 2; Friedman 2001)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar, cast

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor

from esper.kasmina.errors import SeedFault
from esper.kasmina.finite import all_finite
from esper.kasmina.live_seed import LiveSeed
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.tap import Crossing, current_backward

Inspect: TypeAlias = Callable[[Tensor], None]
# The loss with the seed let in, for as long as the context lasts.
Objective: TypeAlias = Callable[[], AbstractContextManager[Tensor]]
# What the seed brings, lesson by lesson, and the gradients of its parameters; None if nothing reaches it.
Taught: TypeAlias = tuple[list[Tensor], tuple[Tensor | None, ...] | None]

HELD_OUT_EVERY = 8
SCALE_DECAY = 0.9

Result = TypeVar("Result")


class Lesson(msgspec.Struct, frozen=True):
    """One batch at the site: detached copies of the seed's input, the host's output and its per-sample gradient.

    *backward* is the id of the backward pass that it came from, *claimed* what other seeds would add of what the
    gradient asks for.
    """

    input: Tensor
    host: Tensor
    gradient: Tensor
    backward: int
    claimed: Tensor | None = None


def _left(lessons: list[Lesson], claims: list[Tensor]) -> list[Lesson]:
    """Return *lessons* with what is claimed of them; a seed that has just come may have seen fewer than the others."""
    if not _alike(claims, [lesson.gradient for lesson in lessons]):
        return lessons
    return [msgspec.structs.replace(lesson, claimed=claim) for lesson, claim in zip(lessons, claims, strict=True)]


def _alike(left: list[Tensor], right: list[Tensor]) -> bool:
    return [each.shape for each in left] == [each.shape for each in right]


class Promise(msgspec.Struct, frozen=True):
    """What a seed would bring, on samples that its last steps did not use."""

    r_squared: float
    predicted_loss_decrease: float


class HeldOut(msgspec.Struct):
    """Sums over held-out batches. A feature is a channel: its mean is taken over samples and positions."""

    samples: int = 0
    rows: int = 0
    unexplained: float = 0.0
    squares: float = 0.0
    decrease: float = 0.0
    aligned: float = 0.0
    sums: list[float] = msgspec.field(default_factory=list[float])

    def add(self, contributed: Tensor, wished: Tensor, lesson: Lesson) -> None:
        """Count one batch: what the seed contributed, beside what the host wished for."""
        channel = 1 if wished.ndim == 4 else -1
        features = wished.double().movedim(channel, -1).flatten(0, -2)
        sums = cast("list[float]", features.sum(0).tolist())
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)] if self.sums else sums
        self.rows += len(features)
        self.squares += features.square().sum().item()
        self.unexplained += (contributed - wished).double().square().sum().item()
        self.aligned += (contributed * wished).double().sum().item()
        self.decrease -= (lesson.gradient * contributed).double().sum().item()
        self.samples += len(wished)

    def totals(self, ranks: Ranks) -> "HeldOut":
        """Return the sums over all *ranks*."""
        measured = [self.unexplained, self.squares, self.decrease, self.aligned]
        samples, rows, unexplained, squares, decrease, aligned, *sums = ranks.total(
            [self.samples, self.rows, *measured, *self.sums]
        )
        return HeldOut(int(samples), int(rows), unexplained, squares, decrease, aligned, sums)

    def plus(self, other: "HeldOut") -> "HeldOut":
        """Return both together."""
        sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)] if self.sums else other.sums
        return HeldOut(
            self.samples + other.samples,
            self.rows + other.rows,
            self.unexplained + other.unexplained,
            self.squares + other.squares,
            self.decrease + other.decrease,
            self.aligned + other.aligned,
            sums,
        )

    def promise(self, *, to_scale: bool = True) -> Promise | None:
        """Return the verdict of all batches together, or None if there was none.

        Without *to_scale* the direction counts alone: what is explained by the contribution times its best factor.
        """
        if self.samples == 0:
            return None
        variance = self.squares - sum(value * value for value in self.sums) / self.rows
        unexplained = self.unexplained if to_scale else self.squares - self._explained()
        r_squared = 1.0 - unexplained / variance if variance > 0.0 else 0.0
        return Promise(r_squared, self.decrease / self.samples)

    def _explained(self) -> float:
        contributed = self.unexplained + 2.0 * self.aligned - self.squares
        return self.aligned**2 / contributed if contributed > 0.0 < self.aligned else 0.0


class Progress(msgspec.Struct):
    """What an incubator knows beside the lessons of the current step."""

    batches: int = 0
    scale: float = 0.0
    held_out: HeldOut = msgspec.field(default_factory=HeldOut)
    promise: Promise | None = None
    # Lessons that were taken from the shadow objective.
    rehearsals: int = 0


class Incubator:
    """Trains a seed to predict the negative functional gradient, in a graph of its own.

    Every eighth optimizer step's batches are held out: the seed is measured on them and does not learn from them.
    Where several ranks train, it learns from the lessons of all, and fails on all if it fails on one.
    """

    def __init__(self, at_model_output: bool, progress: Progress | None = None, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self.progress = progress or Progress()
        self._at_model_output = at_model_output
        self._lessons: list[Lesson] = []

    def collect(self, crossing: Crossing, loss_scale: float = 1.0) -> None:
        """Keep this pass as a lesson once its gradient arrives. The host's activation stays the very same tensor."""
        entry, host = crossing.entry, crossing.host
        if entry is None or host is None or not (torch.is_grad_enabled() and host.requires_grad):
            return
        # Copies, because a later layer may work in place (ReLU(inplace=True)).
        kept = entry.detach().clone()
        kept_host = _at_least_single(kept if entry is host else host.detach().clone())

        def keep(gradient: Tensor) -> None:
            per_sample = _at_least_single(gradient) * (len(gradient) / loss_scale)
            self._lessons.append(Lesson(kept, kept_host, per_sample, current_backward()))

        crossing.on_gradient(keep)

    @property
    def waits(self) -> bool:
        """Whether there is a lesson that no step has used."""
        return bool(self._lessons)

    def step(
        self,
        seed: LiveSeed,
        claims: list[Tensor],
        inspect: Inspect | None = None,
        objective: Objective | None = None,
    ) -> bool | None:
        """Learn from the lessons since the last step, or be measured on them. *inspect* sees the seed's loss.

        With *objective*, the seed learns from the loss that it gives, and not from the gradients of the lessons; it is
        measured on them all the same.

        Returns whether what was asked reached the seed's parameters; None if nothing was asked of it.

        *claims* holds, lesson by lesson and in the gradient's own size, what other seeds bring already; what this one
        brings is added. So several seeds at one place boost one another, in their order (growth-method, section 7).

        Raises:
            SeedFault: the seed's output or gradient is not usable; nothing has moved.
        """
        lessons, self._lessons = self._lessons, []
        # A gradient that is not finite is the host's trouble, and teaches nothing.
        lessons = _of_one_step([lesson for lesson in lessons if all_finite(lesson.gradient)])
        if self._ranks.total([float(not lessons)])[0]:
            return None
        held_out = self.progress.batches % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        self.progress.batches += 1
        lessons = _left(lessons, claims)
        if held_out:
            brought, felt = self._measure(seed, lessons), None
        elif objective is None:
            brought, felt = self._learn(seed, lessons, inspect)
        else:
            brought, felt = self._rehearse(seed, lessons, inspect, objective)
        mine = [output * (self.progress.scale or 1.0) for output in brought]
        claims[:] = [a + b for a, b in zip(claims, mine, strict=True)] if _alike(claims, mine) else mine
        asked = felt or (felt is not None and any(bool(lesson.gradient.any()) for lesson in lessons))
        return felt if asked else None

    def promise(self) -> Promise | None:
        """Return the newest verdict: this epoch's held-out batches, or if there was none yet, the last that was."""
        # What is good for the loss has a size of its own, and only its direction is that of the gradient.
        return self.progress.held_out.promise(to_scale=not self.progress.rehearsals) or self.progress.promise

    def new_epoch(self) -> None:
        """Begin to measure afresh; a lesson that no step has used is dropped."""
        self._lessons = []
        self.progress.promise = self.promise()
        self.progress.held_out = HeldOut()

    def _learn(
        self, seed: LiveSeed, lessons: list[Lesson], inspect: Inspect | None
    ) -> tuple[list[Tensor], bool | None]:
        self._follow_scale(lessons)
        brought, gradients = self._agreed(lambda: self._taught(seed, lessons, inspect))
        return brought, _descend(seed, gradients)

    def _taught(self, seed: LiveSeed, lessons: list[Lesson], inspect: Inspect | None) -> Taught:
        total = sum(len(lesson.gradient) for lesson in lessons)
        with torch.enable_grad():
            outputs = [seed.contribute(lesson.input, lesson.host, training=True) for lesson in lessons]
            parts = [
                F.mse_loss(output, self._wish(lesson)) * (len(lesson.gradient) / total)
                for output, lesson in zip(outputs, lessons, strict=True)
            ]
            loss = torch.stack(parts).sum()
        return [output.detach() for output in outputs], _gradients(seed, loss, inspect)

    def _rehearse(
        self, seed: LiveSeed, lessons: list[Lesson], inspect: Inspect | None, objective: Objective
    ) -> tuple[list[Tensor], bool | None]:
        self._follow_scale(lessons)

        def rehearsed() -> Taught:
            with torch.no_grad():
                # First, because a pass that the seed spoils goes on without it.
                brought = [seed.contribute(lesson.input, lesson.host, training=False) for lesson in lessons]
            with objective() as loss:
                return brought, _gradients(seed, loss, inspect)

        brought, gradients = self._agreed(rehearsed)
        self.progress.rehearsals += 1
        return brought, _descend(seed, gradients)

    def _agreed(self, work: Callable[[], Result]) -> Result:
        """Return what *work* does, unless it fails on any rank; then it has failed on all of them."""
        try:
            done = work()
        except SeedFault:
            self._ranks.total([1.0])
            raise
        if self._ranks.total([0.0])[0]:
            raise SeedFault("elsewhere", "it failed on another rank")
        return done

    @torch.no_grad()
    def _measure(self, seed: LiveSeed, lessons: list[Lesson]) -> list[Tensor]:
        outputs = self._agreed(
            lambda: [seed.contribute(lesson.input, lesson.host, training=False) for lesson in lessons]
        )
        found = HeldOut()
        for output, lesson in zip(outputs, lessons, strict=True):
            found.add(output, self._wish(lesson), lesson)
        self.progress.held_out = self.progress.held_out.plus(found.totals(self._ranks))
        return outputs

    def _follow_scale(self, lessons: list[Lesson]) -> None:
        if self._at_model_output:
            self.progress.scale = 1.0
            return
        squares = sum(lesson.gradient.double().square().sum().item() for lesson in lessons)
        numbers = sum(lesson.gradient.numel() for lesson in lessons)
        all_squares, all_numbers = self._ranks.total([squares, float(numbers)])
        found = (all_squares / all_numbers) ** 0.5
        before = self.progress.scale
        self.progress.scale = SCALE_DECAY * before + (1.0 - SCALE_DECAY) * found if before > 0.0 else found

    def _wish(self, lesson: Lesson) -> Tensor:
        wish = -lesson.gradient if lesson.claimed is None else -(lesson.gradient + lesson.claimed)
        return wish / self.progress.scale if self.progress.scale > 0.0 else wish


def _gradients(seed: LiveSeed, loss: Tensor, inspect: Inspect | None) -> tuple[Tensor | None, ...] | None:
    """Return the gradients of *loss* for the seed's parameters, None if it does not depend on the seed."""
    if not loss.requires_grad:
        return None
    if inspect is not None:
        inspect(loss)
    if not seed.parameters:
        return ()
    if not bool(torch.isfinite(loss)):
        raise SeedFault("non_finite", "its loss is infinite or undefined")
    # Not loss.backward(): even a seed that reaches into the host cannot leave a gradient there.
    return torch.autograd.grad(loss, seed.parameters, allow_unused=True)


def _descend(seed: LiveSeed, gradients: tuple[Tensor | None, ...] | None) -> bool | None:
    """Step along *gradients*; return whether the seed felt any, None if it has no parameters."""
    if not seed.parameters:
        return None
    for parameter, gradient in zip(seed.parameters, gradients or [None] * len(seed.parameters), strict=True):
        parameter.grad = gradient
    return seed.descend()


def _of_one_step(lessons: list[Lesson]) -> list[Lesson]:
    """Undo the division of gradient accumulation: a step's loss is the mean over all its backward passes."""
    passes = len({lesson.backward for lesson in lessons})
    if passes <= 1:
        return lessons
    return [msgspec.structs.replace(lesson, gradient=lesson.gradient * passes) for lesson in lessons]


def _at_least_single(activation: Tensor) -> Tensor:
    """Return *activation* in single precision, if it has less: autocast's half is for the host's own speed."""
    return activation.float() if activation.dtype in (torch.float16, torch.bfloat16) else activation
