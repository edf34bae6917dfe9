"""The writer's clock jumps back an hour: order, versions and readers do not care."""

import msgspec

from eventstore.oona import Oona
from tests.eventstore.vocabulary import OTHER, SEED, context, said, words

NOW_NS = 1_800_000_000 * 10**9
HOUR_NS = 3600 * 10**9


async def test_events_stay_in_the_order_written_when_the_clock_jumps_back_an_hour(log: Oona):
    for version in range(20):
        recorded_at_ns = NOW_NS + version - (HOUR_NS if version >= 10 else 0)
        given = msgspec.structs.replace(context(), recorded_at_ns=recorded_at_ns)
        stream, expected = (SEED, OTHER)[version % 2], version // 2
        await log.store.append(stream, said(f"{version}"), expected=expected, context=given)
    stored = [event async for event in log.store.read_all()]
    assert words(stored) == [f"{version}" for version in range(20)]
    times = [event.context.recorded_at_ns for event in stored]
    assert times != sorted(times)
    assert words(await log.store.read_stream(SEED, after_version=5)) == ["10", "12", "14", "16", "18"]
