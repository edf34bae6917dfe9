"""What a training hears from others while it runs: that its growth is to rest or may go on, and emergencies."""

import asyncio
from contextlib import aclosing

from actors.logs import logger
from actors.streams import run_stream
from esper.api.brake import Brake, Word
from esper.leyline.v1.enums_pb2 import EmergencyLevel
from esper.leyline.v1.fabric_pb2 import EmergencyRaised
from esper.leyline.v1.run_pb2 import GrowthFrozen, GrowthThawed
from eventstore.errors import LogCorrupt, LogReplaced, StoreUnavailable, UnknownEventType
from eventstore.store import EventStore, Recorded

OPERATOR = "operator"
HEARD = ("run", "emergency")
ASK_AGAIN_S = 1.0


async def hear(store: EventStore, run_id: str, brake: Brake, after: int) -> None:
    """Let *brake* know what the log says after position *after*, until cancelled.

    A log that cannot be trusted any more is an emergency itself: growth is frozen, and nothing else is heard.
    """
    while True:
        try:
            async with aclosing(store.follow(after=after, aggregates=HEARD)) as events:
                async for recorded in events:
                    after = recorded.position
                    heed(recorded, run_id, brake)
        except StoreUnavailable as unavailable:
            logger("trainer").debug("nothing is heard from the log", why=unavailable.cause)
            await asyncio.sleep(ASK_AGAIN_S)
        except (LogCorrupt, LogReplaced, UnknownEventType) as error:
            brake.pull(f"the log cannot be trusted: {error}")
            logger("trainer").error("growth is frozen", run=run_id, why=str(error))
            return


def heed(recorded: Recorded, run_id: str, brake: Brake) -> None:
    """Take in one event. What the run itself recorded is no news."""
    match recorded.event:
        case EmergencyRaised(level=EmergencyLevel.EMERGENCY_LEVEL_HALT, source=source, reason=reason):
            brake.pull(f"emergency: {source} met {reason}")
        case GrowthFrozen(reason=reason, raised_at_ns=raised_at_ns) if _told_to(recorded, run_id):
            brake.hear(Word(recorded.position, reason, raised_at_ns))
        case GrowthThawed() if _told_to(recorded, run_id):
            brake.hear(Word(recorded.position, None))
        case _:
            return


def _told_to(recorded: Recorded, run_id: str) -> bool:
    return recorded.stream == run_stream(run_id) and recorded.context.actor == OPERATOR
