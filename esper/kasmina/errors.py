"""What can go wrong at a growth site.

KasminaError
├── NoSuchSite          no module has that name: the message lists those there are
├── NothingToGrow       modules were found, but none of them can carry a seed; says why for each
├── SharedModule        one module under several names: name another one
├── ModelRefused        a model that is wrapped in something that hides its modules: wrap what is inside
├── AlreadyWrapped      the model has its sites already
├── SiteUnusable        what flows through the site is not what a seed can read or add to
├── LayoutUnknown       an order of dimensions that is none
├── HostUnseen          the model did not run where its sites can see it
├── CompiledHost        the model is compiled, and its sites were not declared for that
├── SlotEmpty           there is no seed to act on
├── SlotOccupied        there is a seed in the slot already
├── SiteNotObserved     nothing is known about the site's shape yet
├── SeedFault           a seed raised, or returned something that must not reach the host
├── SeedStateInvalid    a saved seed that does not fit the module it is loaded into
└── UnwrapRefused       the grown model cannot be written down as plain modules
"""

from collections.abc import Iterable


class KasminaError(Exception):
    """Anything a growth site can refuse or report."""


class NoSuchSite(KasminaError):
    """No module matches what was asked for. Choose from *modules*."""

    def __init__(self, asked: str, modules: Iterable[str]) -> None:
        self.asked, self.modules = asked, tuple(modules)
        super().__init__(f"no module matches {asked!r}; the model has: {', '.join(self.modules)}")


class NothingToGrow(KasminaError):
    """Everything that matched was skipped. Name one of the modules exactly, or choose others."""

    def __init__(self, asked: str, skipped: Iterable[tuple[str, str]]) -> None:
        self.asked, self.skipped = asked, tuple(skipped)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.skipped)
        super().__init__(f"nothing that {asked} matches can carry a seed ({reasons}): name a module exactly")


class SharedModule(KasminaError):
    """The module appears under several names, so that its name does not say which place is meant."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(f"one module is used as {' and as '.join(self.names)}: choose a module that is used once")


class ModelRefused(KasminaError):
    """The model's modules cannot be reached. Wrap the model that is inside."""

    def __init__(self, kind: str, advice: str) -> None:
        self.kind, self.advice = kind, advice
        super().__init__(f"{kind} cannot be wrapped: {advice}")


class AlreadyWrapped(KasminaError):
    """The model has been wrapped before, and its sites stand."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"this {kind} is wrapped already: wrap a model once, with all its sites")


class SiteUnusable(KasminaError):
    """What flows through the site is not a tensor that a seed can read or add to. Leave the site out."""

    def __init__(self, label: str, reason: str) -> None:
        self.label, self.reason = label, reason
        super().__init__(f"site {label!r} cannot carry a seed: {reason}. If that must be so, leave it out of `sites`")


class LayoutUnknown(KasminaError):
    """An order of dimensions must name each dimension of a vector, a sequence or an image once."""

    def __init__(self, order: str) -> None:
        self.order = order
        super().__init__(
            f"layout {order!r} is none: write each of BC, BTC or BCHW once, in the order of the tensor's dimensions "
            '("TBC" is time, sample, channel)'
        )


class HostUnseen(KasminaError):
    """An optimizer step was noted, and the model that was wrapped had not run since the session began."""

    def __init__(self) -> None:
        super().__init__(
            "a step was noted, and the wrapped model has not run: train the object that esper.wrap returned. If it "
            "runs through torch.compile, declare its sites before: esper.wrap(model, sites=..., compiled=True); if a "
            "model of the same class was compiled before it in this process, call torch._dynamo.reset() in between"
        )


class CompiledHost(KasminaError):
    """A compiled model does not notice hooks that come later, so a seed in it would have no effect."""

    def __init__(self, part: str) -> None:
        self.part = part
        super().__init__(
            f"{part or 'the model'} is compiled, and its sites were not declared for that: build the model anew and "
            "call esper.wrap(model, sites=..., compiled=True) before torch.compile"
        )


class SlotEmpty(KasminaError):
    """The slot holds no seed."""

    def __init__(self, seed_id: str) -> None:
        self.seed_id = seed_id
        super().__init__(f"slot {seed_id} holds no seed")


class SlotOccupied(KasminaError):
    """The slot holds a seed; remove it first."""

    def __init__(self, seed_id: str) -> None:
        self.seed_id = seed_id
        super().__init__(f"slot {seed_id} holds a seed already: remove it first")


class SiteNotObserved(KasminaError):
    """The shape at the site is not known. Open a window during training first, or pass the shape."""

    def __init__(self, seed_id: str) -> None:
        self.seed_id = seed_id
        super().__init__(f"the shape at slot {seed_id} is not known: open a window first, or pass the shape")


class SeedFault(KasminaError):
    """A seed raised or returned what must not reach the host. *kind*: raised, wrong_shape, non_finite, no_input,
    too_large, slow, leaking, leaky, dead, elsewhere (on another rank)."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(f"{kind}: {detail}")


class SeedStateInvalid(KasminaError):
    """A saved seed does not fit the module that was rebuilt for it; the checkpoint and the kernel disagree."""

    def __init__(self, seed_id: str, detail: str) -> None:
        self.seed_id, self.detail = seed_id, detail
        super().__init__(f"the saved state of slot {seed_id} does not fit: {detail}")


class UnwrapRefused(KasminaError):
    """The grown model's forward pass cannot be written down as plain modules; the model is unchanged."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"cannot unwrap: {reason}. The model is unchanged and works as before")
