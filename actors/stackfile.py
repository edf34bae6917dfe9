"""How others find a running stack: one lock that says that it lives, one file that says where."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from actors.place import Place
from actors.process import ProcessStatus
from eventstore.oona.credentials import Login

_POLL_S = 0.02


class StackBusy(Exception):
    """Another process holds this folder's stack; there is one supervisor, and one server, per folder."""

    def __init__(self, place: Place, holder: int) -> None:
        self.folder, self.holder = place.folder, holder
        super().__init__(f"process {holder} runs the stack of {place.folder}: join it, or `esper down` first")


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack, as its supervisor describes it; `embedded` stacks end with the last process that uses them."""

    url: str
    monitor_url: str
    pid: int
    embedded: bool
    started_at_ns: int
    processes: tuple[ProcessStatus, ...]

    def write(self, place: Place) -> None:
        """Put this description in place of the former, whole or not at all."""
        draft = place.stack_file.with_suffix(".draft")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        draft.replace(place.stack_file)


def running_stack(place: Place) -> StackFile | None:
    """Return the stack that runs at *place* and is ready, or None; what a killed one left behind is not believed."""
    holder = stack_holder(place)
    try:
        found = msgspec.json.decode(place.stack_file.read_bytes(), type=StackFile)
    except FileNotFoundError:
        return None
    return found if found.pid == holder else None


def login_at(place: Place, url: str, user: str) -> Login | None:
    """Return the login of *user* if *url* is where the stack of *place* runs; other servers have users of their own."""
    found = running_stack(place)
    return place.login(user) if found is not None and found.url == url else None


def stack_holder(place: Place) -> int | None:
    """Return the process that holds the stack's lock, ready or not, or None if nobody does."""
    try:
        file = place.stack_lock.open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or b"0")
    return None


@contextmanager
def holding_stack(place: Place, *, wait_s: float = 1.0) -> Generator[int]:
    """Hold the stack's lock, and yield its file descriptor.

    A server that inherits the descriptor keeps the lock after its supervisor was killed, until it has ended as well:
    two servers never write to one store.

    Raises:
        StackBusy: somebody held it all the time.
    """
    deadline = time.monotonic() + wait_s
    descriptor = os.open(place.stack_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StackBusy(place, int(os.pread(descriptor, 20, 0) or b"0")) from None
                time.sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def forget_stack(place: Place) -> None:
    """Remove the description, so that nobody joins a stack that is about to end."""
    place.stack_file.unlink(missing_ok=True)
