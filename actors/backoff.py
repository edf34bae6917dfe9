"""How long to wait before a process that died is started again."""

import msgspec

from actors.settings import RestartSettings


class Backoff(msgspec.Struct, frozen=True):
    """Doubles with every early death, up to a limit; a process that lived long enough starts over."""

    settings: RestartSettings
    deaths: int = 0

    def after(self, lived_s: float) -> "Backoff":
        """Return the backoff after a process ended that had lived for *lived_s* seconds."""
        healthy = lived_s >= self.settings.healthy_after_s
        return Backoff(self.settings, 1 if healthy else self.deaths + 1)

    @property
    def wait_s(self) -> float:
        """How long to wait now, in seconds."""
        if self.deaths == 0:
            return 0.0
        # The exponent is bounded so that a process that dies for weeks does not overflow a float.
        doubled = self.settings.first_backoff_s * 2 ** min(self.deaths - 1, 30)
        return min(doubled, self.settings.max_backoff_s)
