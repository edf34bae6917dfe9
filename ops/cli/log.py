"""Getting at the log: through a server that runs, or by starting one on the folder's files for as long as a command."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import NamedTuple

import msgspec

from actors.place import Bus, Place
from actors.server import create_streams
from actors.stackfile import StackBusy, StackFile, holding_stack, login_at, running_stack
from actors.users import users_of
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.errors import ServerError, StoreUnavailable
from eventstore.oona.credentials import Login, without_password
from eventstore.oona.dead import DeadLetters
from eventstore.oona.log import connect
from eventstore.oona.objects import shared_blobs
from eventstore.oona.server import LocalServer
from eventstore.signing import KEY_FILE, VARIABLE
from eventstore.store import EventStore
from ops.cli.blocks import check_frames
from ops.cli.errors import LogUnreachable, NoLog
from ops.cli.options import Options

TURNS = 10
READER, OPERATOR = "reader", "operator"


class OpenLog(msgspec.Struct, frozen=True, kw_only=True):
    """A log that can be read. `stack_up`: actors work on it, so that the projector can be asked.

    `bytes_found` is how much of it lay on the disk before a server was started on it; None if one was running.
    """

    store: EventStore
    bus: Bus
    dead: DeadLetters
    place: Place
    url: str
    login: Login | None
    stack_up: bool
    bytes_found: int | None = None


class Server(NamedTuple):
    """Where a server answers for the log, whether a stack is behind it, and what it found on the disk if it is ours."""

    url: str
    login: Login | None
    stack_up: bool
    bytes_found: int | None = None


@asynccontextmanager
async def open_log(options: Options, user: str = READER) -> AsyncGenerator[OpenLog]:
    """Open the log that *options* name as *user*; a server started for it is stopped again.

    Raises:
        NoLog: there is none in the folder.
        LogCorrupt: its files are damaged so that no server should be started on them.
        LogUnreachable: there is one, but it cannot be read now.
    """
    place = place_of(options)
    async with _serving(options, place, user) as server:
        try:
            log = await connect(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS, login=server.login)
        except StoreUnavailable as error:
            raise LogUnreachable(without_password(server.url), error.cause) from error
        shared = await asyncio.to_thread(shared_blobs, server.url, login=server.login)
        try:
            yield OpenLog(
                store=log.store,
                bus=log.bus,
                dead=log.dead,
                place=place if shared is None else msgspec.structs.replace(place, blobs=shared),
                url=server.url,
                login=server.login,
                stack_up=server.stack_up,
                bytes_found=server.bytes_found,
            )
        finally:
            await log.close()
            if shared is not None:
                await asyncio.to_thread(shared.close)


def place_of(options: Options) -> Place:
    """Return the folder's place without making one: reading must not leave an empty log or a new key behind.

    Raises:
        NoLog, LogUnreachable: there is no log in it, or not the key that signed it.
    """
    folder = options.folder
    if options.log is None and not (folder / "nats").is_dir():
        raise NoLog(folder)
    if VARIABLE not in os.environ and not (folder / KEY_FILE).exists():
        why = f"the key that signed it is missing: set {VARIABLE}, or restore {folder / KEY_FILE}"
        raise LogUnreachable(options.log or str(folder), why)
    return Place.at(folder)


@asynccontextmanager
async def _serving(options: Options, place: Place, user: str) -> AsyncGenerator[Server]:
    """Yield the server to ask: the one named, the running stack's, or one that lives as long as this context."""
    if options.log is not None:
        yield Server(options.log, login_at(place, options.log, user), stack_up=True)
        return
    with ExitStack() as held:
        found = _stack_or_lock(place, held)
        if isinstance(found, StackFile):
            yield Server(found.url, place.login(user), stack_up=True)
            return
        server = LocalServer(place.folder, tied=True, pass_fds=(found,), users=users_of(place))
        bytes_found = check_frames(place.nats)
        try:
            await server.start()
            await create_streams(server.url, place)
            yield Server(server.url, place.login(user), stack_up=False, bytes_found=bytes_found)
        except ServerError as error:
            raise LogUnreachable(str(place.nats), str(error)) from error
        finally:
            await server.stop()


def _stack_or_lock(place: Place, held: ExitStack) -> StackFile | int:
    """Return the stack that runs, or its lock, held so that none starts meanwhile; wait for whoever is in between."""
    holder = 0
    for _ in range(TURNS):
        found = running_stack(place)
        if found is not None:
            return found
        try:
            return held.enter_context(holding_stack(place))
        except StackBusy as busy:
            holder = busy.holder
    raise LogUnreachable(str(place.folder), f"process {holder} holds it and is not ready")
