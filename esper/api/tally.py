"""What happens seldom and is told of once an epoch: counted where it happens, never at every step."""

import math

import msgspec


class Tally(msgspec.Struct):
    """Counts since the session began, and the last or worst times since the last epoch's end. Training thread only.

    NaN: did not happen.
    """

    kernels_asked: int = 0
    kernel_wait_s: float = math.nan
    unanswered: int = 0
    unrecorded_epochs: int = 0
    rollbacks_fast: int = 0
    rollbacks_full: int = 0
    restore_s: float = math.nan
    checkpoint_s: float = math.nan
    checkpoint_bytes: float = math.nan

    def waited_for_kernel(self, seconds: float) -> None:
        """Count one wait for a kernel, with its verification."""
        self.kernel_wait_s = max(seconds, 0.0 if math.isnan(self.kernel_wait_s) else self.kernel_wait_s)

    def new_epoch(self) -> None:
        """Begin an epoch: counts go on, times begin anew."""
        self.kernel_wait_s = self.restore_s = self.checkpoint_s = self.checkpoint_bytes = math.nan
