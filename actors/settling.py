"""How a delivery ends: done, tried again after a growing pause, or given up to the dead letters."""

from collections.abc import Awaitable

import msgspec

from esper.leyline.decider import RuleBroken
from eventstore.store import DELIVERIES_AT_MOST, Delivery


class TryAgain(Exception):
    """What a delivery asks for cannot be done now, but may be later."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how far apart a delivery is tried; the pauses double from the first to the longest."""

    tries: int = DELIVERIES_AT_MOST
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def pause_s(self, attempt: int) -> float:
        """Return how long to wait after try number *attempt* (from 1) before the next."""
        return min(self.first_pause_s * 2.0 ** min(attempt - 1, 30), self.longest_pause_s)


async def settle(
    delivery: Delivery,
    work: Awaitable[None],
    *,
    again_on: tuple[type[Exception], ...] = (TryAgain,),
    patience: Patience | None = None,
) -> None:
    """Do *work* and end *delivery*: what the rules forbid is given up at once, what may pass is tried again.

    Any other error is the caller's; the delivery comes again by itself.
    """
    patience = patience or Patience()
    try:
        await work
    except again_on as error:
        if delivery.attempt >= patience.tries:
            await delivery.dead_letter(f"tried {delivery.attempt} times, the last: {error}")
        else:
            await delivery.retry_later(patience.pause_s(delivery.attempt))
    except RuleBroken as broken:
        await delivery.dead_letter(str(broken))
    else:
        await delivery.ack()
