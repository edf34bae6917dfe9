"""Looking an own blueprint over before it is registered, so that what it builds can be trusted with a host."""

from collections.abc import Callable, Iterator

import msgspec
import torch
from torch import Tensor, nn

from esper.karn.errors import BlueprintUnsound
from esper.karn.own import OwnBlueprint
from esper.karn.own_building import FAULTS, build_own
from esper.karn.route import planned
from esper.leyline.v1.enums_pb2 import (
    BLEND_MODE_CONVEX,
    SITE_KIND_IMAGE,
    SITE_KIND_SEQUENCE,
    SiteKind,
)
from esper.leyline.v1.site_pb2 import SiteShape

# Dimensions: B batch, then the site's own.

MAX_IDENTITY_ERROR = 1e-5
_POSITIONS = 6
_BATCH = 5
# Sums in another order differ in the last bits; a sample that sees others differs by far more.
_ALIKE = 1e-4
# What to do about a module that is not the identity at birth, by whether it replaces what it reads.
_CALM = {
    True: "let it return its input at birth, or leave replaces=True away if it returns what is to be added",
    False: "begin its last layer at zero, bias included, or say replaces=True if it returns the features themselves",
}


def vetted(own: OwnBlueprint, width: int) -> OwnBlueprint:
    """Return *own* as it may be registered, having built it at *width* for each of its kinds and run it there.

    Raises:
        BlueprintUnsound: names what is wrong, and what to change.
    """
    mixes, before = False, torch.default_generator.get_state()
    try:
        for shape in _shapes(own, width):
            found = _Specimen(own, shape)
            found.check()
            mixes = mixes or found.mixes_positions()
    finally:
        torch.default_generator.set_state(before)
    return msgspec.structs.replace(own, mixes_positions=mixes)


def _shapes(own: OwnBlueprint, width: int) -> Iterator[SiteShape]:
    for kind in own.descriptor.kinds:
        yield _shape(kind, width, width)
        if own.descriptor.spans:
            yield _shape(kind, width, width + width // 2)


def _shape(kind: SiteKind, width_in: int, width_out: int) -> SiteShape:
    given, wanted = (_size(kind, width) for width in (width_in, width_out))
    return SiteShape(input_kind=kind, input_size=given, output_kind=kind, output_size=wanted, dtype="float32")


def _size(kind: SiteKind, width: int) -> tuple[int, ...]:
    if kind == SITE_KIND_IMAGE:
        return (width, _POSITIONS, _POSITIONS)
    return (_POSITIONS, width) if kind == SITE_KIND_SEQUENCE else (width,)


class _Specimen:
    """One module of an own blueprint, at birth and away from it."""

    def __init__(self, own: OwnBlueprint, shape: SiteShape) -> None:
        self._own, self._shape = own, shape
        self._where = f"{SiteKind.Name(shape.input_kind).removeprefix('SITE_KIND_').lower()} {tuple(shape.input_size)}"
        self._generator = torch.Generator().manual_seed(7)
        self._module, again = self._built(), self._built()
        theirs = dict(again.named_parameters())
        kept = {id(each) for each in self._module.parameters()} & {id(each) for each in theirs.values()}
        if kept:
            raise self._refusal("two modules have a parameter in common: make new ones each time, and none of a host's")
        for name, own_weights in self._module.named_parameters():
            if name not in theirs or not torch.equal(own_weights, theirs[name]):
                raise self._refusal(
                    f"built twice from one seed it differs in {name}: draw from torch's generator only, not from "
                    "Python's or NumPy's, the clock or a global"
                )

    def check(self) -> None:
        """Refuse what is wrong at birth, and then what is wrong with other weights."""
        parameters = dict(self._module.named_parameters())
        if not any(parameter.requires_grad for parameter in parameters.values()):
            raise self._refusal("it has no parameter that learns")
        self._check_birth()
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=self._generator))
        self._check_quiet()
        self._check_samples_apart()
        self._check_alive(parameters)

    def mixes_positions(self) -> bool:
        """Whether what comes out at one time of a sequence depends on what goes in at another."""
        if self._shape.input_kind != SITE_KIND_SEQUENCE:
            return False
        given = self._drawn(2)
        changed = given.clone()
        changed[:, -1] = self._drawn(2)[:, -1]
        self._module.eval()
        return not torch.equal(self._run(given)[:, :-1], self._run(changed)[:, :-1])

    def _built(self) -> nn.Module:
        described = self._own.descriptor
        chosen = {name: bounds.default_value for name, bounds in sorted(described.allowed_parameters.items())}
        way = planned(self._shape)
        assert way is not None  # noqa: S101 - positions stay
        return build_own(self._own, chosen, way, self._shape, init_seed=1)

    def _check_birth(self) -> None:
        replaces = self._own.descriptor.blend_mode == BLEND_MODE_CONVEX
        for batch in (1, 2, _BATCH):
            given = self._drawn(batch)
            for training in (True, False):
                self._module.train(training)
                before = given.clone()
                output = self._run(given)
                if not torch.equal(before, given):
                    raise self._refusal("it writes into its input: work on a copy")
                error = float((output - given if replaces else output).abs().max())
                if error > MAX_IDENTITY_ERROR:
                    raise self._refusal(f"newborn it changes the host by {error:.3g}: {_CALM[replaces]}")

    def _check_quiet(self) -> None:
        """Refuse a module that changes by being run, or draws random numbers where it is only asked."""
        buffers = [(name, buffer.clone()) for name, buffer in self._module.named_buffers()]
        self._module.train()
        given = self._drawn(_BATCH)
        self._run(given)
        now = dict(self._module.named_buffers())
        for name, buffer in buffers:
            if not torch.equal(now[name], buffer):
                raise self._refusal(f"running it changes its buffer {name}: a seed remembers nothing but its weights")
        self._module.eval()
        if not torch.equal(self._run(given), self._run(given)):
            raise self._refusal("in evaluation mode it returns something else each time: draw only while training")

    def _check_samples_apart(self) -> None:
        self._module.eval()
        given = self._drawn(_BATCH)
        together = self._run(given)
        alone = torch.cat([self._run(given[index : index + 1]) for index in range(_BATCH)])
        if float((together - alone).abs().max()) > _ALIKE:
            raise self._refusal(
                "what it makes of a sample depends on the others of the batch: normalise within a sample"
            )

    def _check_alive(self, parameters: dict[str, nn.Parameter]) -> None:
        self._module.train()
        given = self._drawn(_BATCH)
        wish = torch.randn((_BATCH, *self._shape.output_size), generator=self._generator)
        output = self._guarded(lambda: self._module(given))
        if not output.requires_grad:
            raise self._refusal("no gradient reaches its parameters: do not detach them, nor compute under no_grad")
        (output - wish).square().mean().backward()
        for name, parameter in parameters.items():
            if not parameter.requires_grad:
                continue
            if parameter.grad is None or not parameter.grad.any():
                raise self._refusal(f"no gradient reaches {name}: use it in the forward pass, or take it out")
            if not torch.isfinite(parameter.grad).all():
                raise self._refusal(f"the gradient of {name} is not finite")

    def _run(self, given: Tensor) -> Tensor:
        with torch.no_grad():
            output = self._guarded(lambda: self._module(given))
        expected = (len(given), *self._shape.output_size)
        if output.shape != expected or output.dtype != given.dtype:
            wanted, found = f"{expected} {given.dtype}", f"{tuple(output.shape)} {output.dtype}"
            raise self._refusal(f"it returns {found} where {wanted} is wanted")
        if not torch.isfinite(output).all():
            raise self._refusal("it returns numbers that are not finite")
        return output

    def _guarded(self, run: Callable[[], object]) -> Tensor:
        try:
            output = run()
        except FAULTS as fault:
            raise self._refusal(f"its forward pass raised {type(fault).__name__}: {fault}") from fault
        if not isinstance(output, Tensor):
            raise self._refusal(f"its forward pass returns a {type(output).__name__}: return one tensor")
        return output

    def _drawn(self, batch: int) -> Tensor:
        return torch.randn((batch, *self._shape.input_size), generator=self._generator)

    def _refusal(self, why: str) -> BlueprintUnsound:
        return BlueprintUnsound(self._own.descriptor.blueprint_id, f"at {self._where}, {why}")
