"""Forging one kernel, stage by stage: from a specification to the parts of its bundle.

The compiled kernel itself is not shipped in this version: it is built, checked against eager and timed, and the
verdict says which of the two is faster here. What a trainer runs is the eager callable with verified weights.
"""

import resource
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from esper.karn.builders import build
from esper.karn.catalogue import descriptor
from esper.karn.counting import parameter_count
from esper.karn.errors import BlueprintRefused
from esper.leyline.canonical import canonical_bytes, sha256_hex
from esper.leyline.v1.enums_pb2 import CompileStage, EngineVerdict
from esper.leyline.v1.kernel_pb2 import KernelSpec
from esper.tezzeret.compiling import (
    COMPILER_FAILURES,
    WORTHWHILE_SPEEDUP,
    Callee,
    compile_exported,
    disagreement,
    eager_callee,
    host_fingerprint,
    plain_callee,
    time_side_by_side,
)
from esper.tezzeret.errors import ForgeFailed
from esper.tezzeret.exporting import Exported, export_module
from esper.tezzeret.outcome import Forged, NotForged, Outcome, StageTiming, write_outcome
from esper.urza.guard import guard_bytes, guard_digest
from esper.urza.manifest import GRAPH, GUARD, WEIGHTS
from esper.urza.percentile import percentile


class _Note:
    """What a stage wants to have said about itself."""

    def __init__(self) -> None:
        self.detail = ""
        self.product = b""


class Attempt:
    """One attempt at one kernel."""

    def __init__(self, spec: KernelSpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder
        self._stages: list[StageTiming] = []
        self._fallback = ""

    def outcome(self) -> Outcome:
        """Forge the kernel into the folder and return what there is to say about it.

        Once the eager kernel is whole, its outcome is left in the folder, so that whoever waits may stop waiting.
        """
        try:
            return self._forged()
        except ForgeFailed as failed:
            return NotForged(reason=failed.reason, detail=failed.detail, stages=tuple(self._stages))

    def _forged(self) -> Forged:
        module = self._built()
        eager = plain_callee(module)
        with self._stage(CompileStage.COMPILE_STAGE_EXPORT) as note:
            exported = export_module(module, self._spec.shape)
            note.product = exported.graph
        self._package(module, exported)
        (eager_ms,) = time_side_by_side([eager], module, self._spec.shape)
        write_outcome(self._folder, self._said(exported, eager_ms, (), compiling=True))
        compiled = self._verified(self._compiled(exported), module)
        with self._stage(CompileStage.COMPILE_STAGE_PREWARM) as note:
            compiled_ms: tuple[float, ...] = ()
            if compiled is not None:
                eager_ms, compiled_ms = time_side_by_side([eager, compiled], module, self._spec.shape)
            note.detail = _comparison(eager_ms, compiled_ms)
        return self._said(exported, eager_ms, compiled_ms, compiling=False)

    def _said(
        self, exported: Exported, eager_ms: tuple[float, ...], compiled_ms: tuple[float, ...], *, compiling: bool
    ) -> Forged:
        return Forged(
            compiling=compiling,
            guard_digest=guard_digest(exported.guard),
            verdict=EngineVerdict.Name(_verdict(eager_ms, compiled_ms)),
            eager_fallback=bool(self._fallback),
            fallback_reason=self._fallback,
            compile_ms=self._duration(CompileStage.COMPILE_STAGE_COMPILE),
            eager_ms=eager_ms,
            compiled_ms=compiled_ms,
            peak_rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
            torch_version=str(torch.__version__),
            host=host_fingerprint(),
            stages=tuple(sorted(self._stages, key=lambda timing: CompileStage.Value(timing.stage))),
        )

    def _built(self) -> nn.Module:
        spec = self._spec
        with self._stage(CompileStage.COMPILE_STAGE_VALIDATE) as note:
            try:
                count = parameter_count(spec.blueprint_id, spec.parameters, spec.shape)
                version = descriptor(spec.blueprint_id).version
            except BlueprintRefused as refused:
                raise ForgeFailed("invalid", str(refused)) from refused
            if (spec.torch_version, spec.blueprint_version) != (str(torch.__version__), version):
                here = f"here are torch {torch.__version__} and blueprint version {version}"
                raise ForgeFailed("invalid", f"for torch {spec.torch_version}, {spec.blueprint_version}; {here}")
            note.product = canonical_bytes(spec)
        with self._stage(CompileStage.COMPILE_STAGE_BUILD) as note:
            module = build(spec.blueprint_id, spec.parameters, spec.shape, spec.init_seed)
            found = sum(parameter.numel() for parameter in module.parameters())
            if found != count:
                raise ForgeFailed("build", f"{found} parameters, the catalogue says {count}")
            note.detail = f"{count} parameters"
        return module

    def _compiled(self, exported: Exported) -> Callee | None:
        with self._stage(CompileStage.COMPILE_STAGE_COMPILE) as note:
            if not exported.computes:
                note.detail = "nothing to compile"
                return None
            if exported.remembers:
                self._fallback = note.detail = "compile: it keeps running statistics, which compiled code would not"
                return None
            try:
                return compile_exported(exported)
            except COMPILER_FAILURES as error:
                self._fallback = note.detail = f"compile: {_first_line(error)}"
                return None

    def _verified(self, compiled: Callee | None, module: nn.Module) -> Callee | None:
        with self._stage(CompileStage.COMPILE_STAGE_VERIFY) as note:
            if compiled is None:
                note.detail = "no compiled kernel to compare"
                return None
            try:
                difference = disagreement(eager_callee(module), compiled, module, self._spec.shape)
            except COMPILER_FAILURES as error:
                difference = _first_line(error)
            if difference is not None:
                self._fallback = note.detail = f"numeric: {difference}"
                return None
            return compiled

    def _package(self, module: nn.Module, exported: Exported) -> None:
        with self._stage(CompileStage.COMPILE_STAGE_PACKAGE) as note:
            weights = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
            parts = {WEIGHTS: save(weights), GUARD: guard_bytes(exported.guard), GRAPH: exported.graph}
            try:
                for name, data in parts.items():
                    (self._folder / name).write_bytes(data)
            except OSError as error:
                raise ForgeFailed("package", str(error)) from error
            note.product = b"".join(parts.values())

    @contextmanager
    def _stage(self, stage: CompileStage) -> Generator[_Note]:
        note, began = _Note(), time.perf_counter()
        yield note
        self._stages.append(
            StageTiming(
                stage=CompileStage.Name(stage),
                duration_ms=(time.perf_counter() - began) * 1000.0,
                sha256=sha256_hex(note.product) if note.product else "",
                detail=note.detail,
            )
        )

    def _duration(self, stage: CompileStage) -> float:
        return sum(timing.duration_ms for timing in self._stages if timing.stage == CompileStage.Name(stage))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]


def _verdict(eager_ms: tuple[float, ...], compiled_ms: tuple[float, ...]) -> EngineVerdict:
    if compiled_ms and percentile(eager_ms, 0.5) >= WORTHWHILE_SPEEDUP * percentile(compiled_ms, 0.5):
        return EngineVerdict.ENGINE_VERDICT_COMPILED
    return EngineVerdict.ENGINE_VERDICT_EAGER


def _comparison(eager_ms: tuple[float, ...], compiled_ms: tuple[float, ...]) -> str:
    eager = f"eager p50 {percentile(eager_ms, 0.5):.3f} ms"
    return f"{eager}, compiled p50 {percentile(compiled_ms, 0.5):.3f} ms" if compiled_ms else eager
