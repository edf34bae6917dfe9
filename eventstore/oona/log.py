"""The way in: one connection with the store and the bus on it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from eventstore.commands import CommandCodec
from eventstore.commit import CommitCodec
from eventstore.oona.bus import OonaBus
from eventstore.oona.connection import Connection
from eventstore.oona.credentials import Login
from eventstore.oona.dead import DeadLetters
from eventstore.oona.jetstream import JetStream
from eventstore.oona.monitor import is_durable
from eventstore.oona.nonces import OonaNonces
from eventstore.oona.store import OonaStore
from eventstore.oona.streams import StreamSizes, ensure, takes_batches
from eventstore.oona.sweeping import SettledCommands
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.signing import Keys
from eventstore.store import EventTypes


class Oona:
    """A connection to the log: `store` to record and read, `bus` to command and ask, `dead` for what was given up,
    `settled` for the commands that were carried out, `telemetry` for what is measured.

    `durable` says whether an acknowledgement means that the bytes are on the disk; it is True only if the server's
    monitor was asked and said so.
    """

    def __init__(
        self,
        connection: Connection,
        store: OonaStore,
        bus: OonaBus,
        dead: DeadLetters,
        settled: SettledCommands,
        telemetry: OonaTelemetry,
        *,
        durable: bool,
    ) -> None:
        self._connection = connection
        self.telemetry = telemetry
        self.dead = dead
        self.settled = settled
        self.store = store
        self.bus = bus
        self.alarms = bus
        self.durable = durable

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self._connection.connected

    async def close(self) -> None:
        """Close the connection; harmless when it is closed or the server is gone."""
        await self._connection.close()


async def connect(
    url: str,
    *,
    keys: Keys,
    types: EventTypes,
    commands: EventTypes,
    name: str = "esper",
    monitor: str = "",
    sizes: StreamSizes | None = None,
    authority: str = "",
    login: Login | None = None,
) -> Oona:
    """Connect to the log at *url*, creating its streams if they are missing. The caller closes it.

    *name* is what the server's operators see; *monitor* is the URL of its monitoring port, if it is known;
    *authority* is a file with the certificates that a `tls://` server is known by; *login* is the user, unless *url*
    names one. Who may not create streams must find them.

    Raises:
        StoreUnavailable: no server there, or one without JetStream.
        LogMisconfigured: its streams exist with settings that break the promises.
    """
    connection = Connection()
    await connection.open(url, name=name, authority=authority, login=login)
    try:
        jetstream, commits = JetStream(connection), CommitCodec(keys, types)
        events = await ensure(jetstream, sizes or StreamSizes())
        durable = bool(monitor) and await asyncio.to_thread(is_durable, monitor)
    except BaseException:
        await connection.close()
        raise
    codec = CommandCodec(keys, commands)
    bus = OonaBus(jetstream, codec, commits, OonaNonces(jetstream))
    store = OonaStore(jetstream, commits, batches=takes_batches(events))
    dead, settled, telemetry = DeadLetters(jetstream, codec), SettledCommands(jetstream), OonaTelemetry(jetstream, keys)
    return Oona(connection, store, bus, dead, settled, telemetry, durable=durable)


@asynccontextmanager
async def open_log(
    url: str,
    *,
    keys: Keys,
    types: EventTypes,
    commands: EventTypes,
    name: str = "esper",
    monitor: str = "",
    sizes: StreamSizes | None = None,
    authority: str = "",
    login: Login | None = None,
) -> AsyncGenerator[Oona, None]:
    """`connect` for an `async with` block, closed at its end."""
    oona = await connect(
        url,
        keys=keys,
        types=types,
        commands=commands,
        name=name,
        monitor=monitor,
        sizes=sizes,
        authority=authority,
        login=login,
    )
    try:
        yield oona
    finally:
        await oona.close()
