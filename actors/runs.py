"""Finding a run in the log by what people call it."""

from contextlib import aclosing

from esper.leyline.v1.run_pb2 import RunStarted
from eventstore.store import EventStore

LATEST = "latest"
RUN_ID_DIGITS = 32


async def runs_called(store: EventStore, wanted: str) -> list[str]:
    """Return the ids of the runs that *wanted* fits: "latest", an id, or the beginning of one.

    The newest run is read from the log's end, so that it costs as much as that run is long. An id of full length comes
    back unasked: whether there is such a run, its stream tells.
    """
    if len(wanted) == RUN_ID_DIGITS:
        return [wanted]
    if wanted == LATEST:
        async with aclosing(store.read_all_backward()) as backward:
            async for recorded in backward:
                if isinstance(recorded.event, RunStarted):
                    return [recorded.stream.aggregate_id]
        return []
    started = [one.stream.aggregate_id async for one in store.read_all() if isinstance(one.event, RunStarted)]
    return [run_id for run_id in started if run_id.startswith(wanted)]
