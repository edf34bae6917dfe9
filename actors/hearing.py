"""Telemetry heard: what the stream brings becomes rows beside the projections, and old rows go."""

import asyncio
from collections import Counter
from contextlib import aclosing

from google.protobuf.message import DecodeError

from actors.clock import Clock, SystemClock
from actors.logs import logger
from esper.leyline.v1.telemetry_pb2 import TelemetryPacket
from esper.nissa.measured import POINTS, REFUSED, moment, points
from eventstore.oona.telemetry import Heard, HeardBatch, OonaTelemetry
from eventstore.projection.annex import add, forget, heard
from eventstore.projection.declare import Annex
from eventstore.projection.live import LiveProjections

READER = "telemetry"
FORGET_EVERY_S = 3600.0


async def hear(
    telemetry: OonaTelemetry,
    live: LiveProjections,
    annex: Annex,
    *,
    clock: Clock | None = None,
    forget_every_s: float = FORGET_EVERY_S,
) -> None:
    """Add what is measured to *annex* of *live*, each message once, until cancelled."""
    clock = clock or SystemClock()
    async with asyncio.TaskGroup() as group:
        group.create_task(_forget(live, annex, clock, forget_every_s))
        async with aclosing(telemetry.heard(READER)) as batches:
            async for batch in batches:
                await _add(live, annex, batch, clock)


async def _add(live: LiveProjections, annex: Annex, batch: HeardBatch, clock: Clock) -> None:
    known = 0
    # Only what is delivered again can be known already; and a stream that was made anew counts from 1 again.
    if any(one.attempt > 1 for one in batch.packets):
        known = await live.beside(lambda connection: heard(connection, annex))
    refused, rows = Counter(batch.refused), list[tuple[object, ...]]()
    for one in batch.packets:
        if one.attempt == 1 or one.position > known:
            rows.extend(_rows(one, refused))
    at = moment(clock.now_ns())
    told = [(verdict, many, at) for verdict, many in refused.items()]
    await live.beside(lambda connection: add(connection, annex, {POINTS: rows, REFUSED: told}, batch.position))


def _rows(one: Heard, refused: Counter[str]) -> list[tuple[object, ...]]:
    try:
        return list(points(TelemetryPacket.FromString(one.packet)))
    except (DecodeError, ValueError, OverflowError) as error:
        logger("projector").warning("telemetry that is no packet", subject=one.subject, error=str(error))
        refused["undecodable"] += 1
        return []


async def _forget(live: LiveProjections, annex: Annex, clock: Clock, every_s: float) -> None:
    while True:
        now = moment(clock.now_ns())
        forgotten = await live.beside(lambda connection, now=now: forget(connection, annex, now))
        if forgotten:
            logger("projector").info("old telemetry is forgotten", **forgotten)
        await asyncio.sleep(every_s)
