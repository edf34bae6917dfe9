"""Finding a run in the log by what people call it."""

from eventstore.store import EventStore

LATEST = "latest"
RUN_ID_DIGITS = 32


async def runs_called(store: EventStore, wanted: str) -> list[str]:
    """Return the ids of the runs that *wanted* fits: "latest", an id, or the beginning of one.

    An id of full length comes back unasked: whether there is such a run, its stream tells.
    """
    if len(wanted) == RUN_ID_DIGITS:
        return [wanted]
    return await runs_there(store, wanted)


async def runs_there(store: EventStore, wanted: str) -> list[str]:
    """As `runs_called`, but an id of full length too comes back only if there is such a run."""
    begun = [stream.aggregate_id for stream in await store.streams("run")]
    return begun[-1:] if wanted == LATEST else [run_id for run_id in begun if run_id.startswith(wanted)]
