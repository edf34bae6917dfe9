"""What the process that decides tells the others of its training, and hears of them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import torch
from torch import nn

from actors.changes import Change
from esper.api.growth import Growth
from esper.api.parallel.errors import ParallelRefused, RanksDiffer
from esper.api.parallel.words import ENCODER, Report, Told, Welcome
from esper.kasmina.ranks import ProcessRanks
from esper.leyline.canonical import canonical_bytes, sha256_hex
from esper.leyline.v1.run_pb2 import Checkpoint, EpochFacts, RunFacts
from esper.tolaria.checkpoint import Stateful, companion, model_sha256, rank_part
from esper.tolaria.encoding import encode


class Crew(Protocol):
    """The other processes of a training, if there are any."""

    def welcome(self, run_id: str, facts: RunFacts, checkpoint: Checkpoint | None, last: EpochFacts) -> None:
        """Let them begin where this process is."""
        ...

    def after_step(self) -> None:
        """Let them make the changes that this step's fence has made."""
        ...

    def meet(self, loss: float) -> float:
        """Hear how they are, and return the mean of all losses; *loss* is this process's."""
        ...

    def after_epoch(self, facts: EpochFacts, decisions: Sequence[str]) -> None:
        """Let them make the changes that this epoch's fence has made, and see that all models are alike.

        Raises:
            RanksDiffer: they are not.
        """
        ...

    def farewell(self) -> None:
        """Let them make the last changes and leave."""
        ...

    def demand_nobody(self, what: str) -> None:
        """Refuse *what*, which others would not notice.

        Raises:
            ParallelRefused: there are others.
        """
        ...


class Nobody:
    """No other process."""

    def welcome(self, run_id: str, facts: RunFacts, checkpoint: Checkpoint | None, last: EpochFacts) -> None:
        """Do nothing."""

    def after_step(self) -> None:
        """Do nothing."""

    def meet(self, loss: float) -> float:
        """Return *loss*."""
        return loss

    def after_epoch(self, facts: EpochFacts, decisions: Sequence[str]) -> None:
        """Do nothing."""

    def farewell(self) -> None:
        """Do nothing."""

    def demand_nobody(self, what: str) -> None:
        """Do nothing."""


class Leading:
    """The crew of the first rank. `companions` are the parts that a checkpoint holds of the others."""

    def __init__(self, ranks: ProcessRanks, model: nn.Module, growth: Growth, companions: Mapping[str, bytes]) -> None:
        self.companions = companions
        self._ranks, self._model, self._growth = ranks, model, growth
        self._shown: list[tuple[str, int]] = []
        growth.heard_by = self._note

    def welcome(self, run_id: str, facts: RunFacts, checkpoint: Checkpoint | None, last: EpochFacts) -> None:
        """Let the others begin where this process is."""
        restored = b"" if checkpoint is None else canonical_bytes(checkpoint)
        self._tell(Welcome(run_id, facts.settings_json, restored, canonical_bytes(last), self._taken()))

    def after_step(self) -> None:
        """Let them make the changes that this step's fence has made."""
        self._tell(Told(self._taken()))

    def meet(self, loss: float) -> float:
        """Hear how the others are, for the next checkpoint, and return the mean of all losses."""
        words = self._ranks.heard(ENCODER.encode(Report(loss, b"")))
        self.companions = companions(words)
        same_buffers(self._ranks, self._model)
        losses = [msgspec.msgpack.decode(word, type=Report).loss for word in words]
        return sum(losses) / len(losses)

    def after_epoch(self, facts: EpochFacts, decisions: Sequence[str]) -> None:
        """Let them make the changes that this epoch's fence has made, and see that all models are alike."""
        self._tell(Told(self._taken(), canonical_bytes(facts), tuple(decisions)))
        demand_alike(self._ranks, self._model, self._growth, f"the model after epoch {facts.at.epoch}")

    def farewell(self) -> None:
        """Let them make the last changes and leave."""
        self._tell(Told(self._taken()))
        demand_alike(self._ranks, self._model, self._growth, "the model at the end")
        self._ranks.leave()

    def demand_nobody(self, what: str) -> None:
        """Refuse *what*: only what happens at fences is told to the others."""
        raise ParallelRefused(what, "let the controller decide, or train in one process")

    def _note(self, change: Change) -> None:
        self._shown.append((change.seed_id, change.events[-1].version))

    def _taken(self) -> list[tuple[str, int]]:
        shown, self._shown = self._shown, []
        return shown

    def _tell(self, word: Welcome | Told) -> None:
        self._ranks.told(ENCODER.encode(word))


def reported(loss: float, stateful: Mapping[str, Stateful | torch.Generator]) -> bytes:
    """Return the report of a rank that follows."""
    return ENCODER.encode(Report(loss, companion(stateful)))


def companions(reports: Sequence[bytes]) -> dict[str, bytes]:
    """Return the parts of a checkpoint that hold the states of all ranks but the first."""
    states = [msgspec.msgpack.decode(report, type=Report).state for report in reports]
    return {rank_part(rank): state for rank, state in enumerate(states) if rank}


def same_buffers(ranks: ProcessRanks, model: nn.Module) -> None:
    """Give every rank the first one's buffers, as DistributedDataParallel does before its next forward pass."""
    ranks.same_buffers([*model.buffers()])


def demand_alike(ranks: ProcessRanks, model: nn.Module, growth: Growth, what: str) -> None:
    """Compare what all ranks have grown and learnt, seeds that still grow included.

    Raises:
        RanksDiffer: on every rank, if they differ in a single bit.
    """
    digests = [model_sha256(model)]
    for slot in growth.slots.values():
        tensors = {name: value for name, value in slot.state()[0].items() if not name.startswith("draws.")}
        digests.append(sha256_hex(encode(tensors)))
    found = [word.decode() for word in ranks.heard(sha256_hex("|".join(digests).encode()).encode())]
    if len(set(found)) > 1:
        cure = "Every rank must step in every batch, with the same optimizer settings; resume from the last checkpoint"
        raise RanksDiffer(what, found, cure)
