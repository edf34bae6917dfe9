"""Two writers on one aggregate: exactly one wins each race, and nothing that was acknowledged is lost."""

import asyncio

import pytest

from eventstore.errors import StreamMovedOn
from eventstore.oona import Oona, open_log
from eventstore.oona.server import LocalServer
from eventstore.store import Appended
from tests.eventstore.vocabulary import SEED, context, said
from tests.journeys.faults.conftest import RING
from tests.journeys.faults.ledger import Ledger, tell


async def race(logs: tuple[Oona, Oona], ledger: Ledger, races: int) -> int:
    """Let both writers answer the same version *races* times; return how many races had one winner and one loser."""
    fair = 0
    for version in range(races):
        outcomes = await asyncio.gather(
            *(log.store.append(SEED, said("x"), expected=version, context=context()) for log in logs),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        beaten = [outcome for outcome in outcomes if isinstance(outcome, StreamMovedOn)]
        fair += len(won) == len(beaten) == 1
        for appended in won:
            await ledger.note(appended)
    return fair


async def campaign(log: Oona, server: LocalServer, races: int) -> None:
    ledger = Ledger()
    async with open_log(server.url, **RING) as other:
        fair = await race((log, other), ledger, races)
    verdict = await ledger.compare(log.store)
    tell(f"{races} races, {fair} with exactly one winner", verdict)
    assert fair == races
    assert verdict.sound
    assert verdict.stored == verdict.acknowledged == races


async def test_a_hundred_races_have_a_hundred_winners(log: Oona, own_nats_server: LocalServer):
    await campaign(log, own_nats_server, 100)


@pytest.mark.slow
async def test_a_thousand_races_have_a_thousand_winners(log: Oona, own_nats_server: LocalServer):
    await campaign(log, own_nats_server, 1000)
