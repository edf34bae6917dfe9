"""Phrases of which the sentences about events are made."""

from collections.abc import Mapping

from esper.leyline.v1.enums_pb2 import EngineVerdict, SeedLifecycleGate, SeedLifecycleStage
from esper.leyline.v1.seed_pb2 import GateEvaluated
from esper.leyline.v1.site_pb2 import SiteShape
from esper.nissa.words import word


def gate_name(gate: SeedLifecycleGate, profile: str) -> str:
    """Return a gate's short name: "G2", or "G4 (fossilize)" under a profile other than the strict one."""
    short = word(SeedLifecycleGate, gate).partition("_")[0].upper()
    return short if profile in ("", "strict") else f"{short} ({profile})"


def stage_name(stage: SeedLifecycleStage) -> str:
    """Return a stage's name as people write it: "blending"."""
    return word(SeedLifecycleStage, stage)


def shortfall(event: GateEvaluated, check: str) -> str:
    """Say by how much a gate missed *check*."""
    if check not in event.inputs:
        return f"{check} not measured"
    limit = f" (limit {event.thresholds[check]:g})" if check in event.thresholds else ""
    return f"{check} {event.inputs[check]:g}{limit}"


def engine(verdict: EngineVerdict, fallback_reason: str) -> str:
    """Say what a kernel runs as, and why."""
    name = word(EngineVerdict, verdict)
    return f"runs {name}" + (f" because {fallback_reason}" if fallback_reason else "")


def shape_of(shape: SiteShape) -> str:
    """Return the sizes in and out of a site, without the batch: "8 -> 16"."""

    def size(sizes: list[int]) -> str:
        return "x".join(str(part) for part in sizes) or "?"

    return f"{size(list(shape.input_size))} -> {size(list(shape.output_size))}"


def settings(values: Mapping[str, float]) -> str:
    """Return numbers by name, as a list in words."""
    return ", ".join(f"{name} {values[name]:g}" for name in sorted(values))


def counted(number: int, noun: str) -> str:
    """Return *number* with its noun: "1 site", "2 sites"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
