"""How a delivery ends follows from how its work went."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing

import pytest

from actors.settling import Patience, TryAgain, settle
from esper.leyline.decider import RuleBroken
from eventstore.memory import MemoryBus, MemoryStore
from tests.eventstore.vocabulary import TYPES, command

QUICK = Patience(tries=3, first_pause_s=0.01)


async def lasts(error: Exception | None) -> None:
    if error:
        raise error


async def tries(work: Callable[[int], Coroutine[None, None, None]]) -> tuple[MemoryBus, list[int]]:
    """Settle one command until it no longer comes; return on which attempts it came."""
    bus, seen = MemoryBus(MemoryStore(TYPES)), list[int]()
    await bus.send(command())

    async def serve() -> None:
        async with aclosing(bus.commands("tezzeret")) as commands:
            async for delivery in commands:
                seen.append(delivery.attempt)
                await settle(delivery, work(delivery.attempt), patience=QUICK)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(serve(), 0.3)
    return bus, seen


async def test_work_that_is_done_is_done_once():
    bus, seen = await tries(lambda _: lasts(None))
    assert (seen, bus.buried) == ([1], [])


async def test_work_that_cannot_be_done_now_is_tried_again_and_then_done():
    bus, seen = await tries(lambda attempt: lasts(TryAgain("not yet") if attempt < 3 else None))
    assert (seen, bus.buried) == ([1, 2, 3], [])


async def test_work_that_never_succeeds_is_given_up_after_its_last_try_with_the_error():
    bus, seen = await tries(lambda _: lasts(TryAgain("the disk is away")))
    assert seen == [1, 2, 3]
    assert [error for _, error in bus.buried] == ["tried 3 times, the last: the disk is away"]


async def test_what_the_rules_forbid_is_given_up_at_once():
    bus, seen = await tries(lambda _: lasts(RuleBroken("a dormant seed cannot blend")))
    assert seen == [1]
    assert [error for _, error in bus.buried] == ["a dormant seed cannot blend"]


def test_pauses_double_up_to_the_longest():
    patience = Patience(first_pause_s=1.0, longest_pause_s=10.0)
    assert [patience.pause_s(attempt) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
