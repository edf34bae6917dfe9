"""What is measured about a seed while it is in the host's forward pass."""

import math
from typing import NamedTuple

import msgspec
from torch import Tensor

from esper.kasmina.errors import SeedFault
from esper.kasmina.feedback import Agreement
from esper.kasmina.pulse import Pulse

# Beyond this a blended activation is none that a host could have made: so many times its own, or times 1.
MAX_RMS_RATIO = 100.0


class Meter(msgspec.Struct):
    """Counts since the seed's stage began. None: not measured."""

    nonfinite_batches: int = 0
    isolation_violations: int | None = None
    # Comparisons of the host's weights, buffers and gradients, before and after the seed's code ran.
    comparisons: int | None = None
    io_contract_kept: bool | None = None
    shadow_probes: int | None = None
    shadow_nonfinite: int | None = None
    # Sums of squares over this epoch's training batches, of the host's own activation and of the blended one.
    host_squares: float = 0.0
    blended_squares: float = 0.0
    last_rms_ratio: float | None = None
    agreement: Agreement = msgspec.field(default_factory=Agreement)
    pulse: Pulse = msgspec.field(default_factory=Pulse)
    # Why the seed may not go on, in words; empty while it may.
    failed: str = ""

    @property
    def rms_ratio(self) -> float | None:
        """Root mean square of the blended activation over the host's: this epoch's, else the last epoch's."""
        if self.host_squares > 0.0:
            return math.sqrt(self.blended_squares / self.host_squares)
        return self.last_rms_ratio

    def evidence(self) -> dict[str, float]:
        """Return what was measured, under the gates' names for it."""
        found = {
            "nonfinite_batches": self.nonfinite_batches,
            "isolation_violations": self.isolation_violations,
            "host_comparisons": self.comparisons,
            "io_contract_ok": self.io_contract_kept,
            "rms_ratio": self.rms_ratio,
            "shadow_probes": self.shadow_probes,
            "shadow_nonfinite": self.shadow_nonfinite,
            "gradient_cosine": self.agreement.mean,
        }
        return {name: float(value) for name, value in found.items() if value is not None}

    def saw(self, sizes: "Sizes") -> None:
        """Count one training batch that the seed took part in."""
        self.io_contract_kept = True if self.io_contract_kept is None else self.io_contract_kept
        if all(math.isfinite(squares) for squares in sizes):
            self.host_squares += sizes.host_squares
            self.blended_squares += sizes.blended_squares

    def found_violations(self, count: int) -> None:
        """Add the result of one isolation proof."""
        self.isolation_violations = (self.isolation_violations or 0) + count

    def compared(self, changed: int) -> None:
        """Take note of one comparison of the host, before and after: so many tensors had changed."""
        self.comparisons = (self.comparisons or 0) + 1
        self.found_violations(changed)

    def fault(self, fault: SeedFault, *, certain: bool) -> None:
        """Count *fault*. The seed has failed if it is *certain* that the fault is its own, and not the host's."""
        if fault.kind == "non_finite":
            self.nonfinite_batches += 1
        else:
            self.io_contract_kept = False
        if certain or fault.kind != "non_finite":
            self.failed = self.failed or str(fault)

    def probed(self, *, finite: bool) -> None:
        """Count one live batch on which the seed was tried without letting it in."""
        self.shadow_probes = (self.shadow_probes or 0) + 1
        self.shadow_nonfinite = (self.shadow_nonfinite or 0) + (not finite)

    def new_epoch(self) -> None:
        """Begin the sums over an epoch afresh."""
        self.last_rms_ratio = self.rms_ratio
        self.host_squares = self.blended_squares = 0.0
        self.agreement.new_epoch()


class Sizes(NamedTuple):
    """Sums of squares of one batch's activation, of the host alone and blended."""

    host_squares: float
    blended_squares: float

    @classmethod
    def of(cls, host: Tensor, blended: Tensor) -> "Sizes":
        """Measure *blended*, before the host goes on with it.

        Raises:
            SeedFault: it is larger than any host would make it.
        """
        sizes = cls(_squares(host), _squares(blended))
        if not math.isfinite(sizes.host_squares):
            # The host's own trouble.
            return sizes
        if not sizes.blended_squares <= MAX_RMS_RATIO**2 * max(sizes.host_squares, host.numel()):
            rms = math.sqrt(sizes.blended_squares / host.numel())
            raise SeedFault("too_large", f"would make the activation {rms:.3g} large (root mean square)")
        return sizes


def _squares(activation: Tensor) -> float:
    return activation.detach().double().square().sum().item()
