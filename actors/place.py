"""Where an actor lives: the folder with its files and keys, and the log it works on."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from eventstore.blobs import FolderBlobs
from eventstore.oona.credentials import Login
from eventstore.oona.dead import DeadLetters
from eventstore.oona.objects import shared_blobs
from eventstore.oona.sweeping import SettledCommands
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.secret_file import read_secret
from eventstore.signing import Keys
from eventstore.snapshot import Snapshots
from eventstore.store import AlarmBus, BlobStore, CommandBus, EventStore, QueryBus

LOCK_FILE = "stack.lock"
OUTBOXES = "outbox"


class Bus(CommandBus, QueryBus, Protocol):
    """Commands and events at least once, questions at most once."""


class Log(Protocol):
    """An open log: what is recorded, how actors reach each other, and whether an acknowledged write is on disk."""

    @property
    def store(self) -> EventStore: ...

    @property
    def bus(self) -> Bus: ...

    @property
    def durable(self) -> bool:
        """Whether the server syncs every write before it acknowledges it."""
        ...


class Fabric(Log, Protocol):
    """A log on a server, with what was given up there or is done with, and lanes for emergencies and telemetry."""

    @property
    def alarms(self) -> AlarmBus: ...

    @property
    def dead(self) -> DeadLetters: ...

    @property
    def settled(self) -> SettledCommands: ...

    @property
    def telemetry(self) -> OonaTelemetry: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One installation on this machine, usually `.esper/`: everything in it but the log survives being deleted."""

    folder: Path
    keys: Keys
    blobs: BlobStore

    @classmethod
    def at(cls, folder: Path, environ: Mapping[str, str] = os.environ) -> "Place":
        """Return the place at *folder*, creating its folders and its signing key where they are missing."""
        folder = folder.absolute()
        for name in ("nats", "blobs", "logs", "cache"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return cls(folder=folder, keys=Keys.load(folder, environ), blobs=FolderBlobs(folder / "blobs"))

    def sharing(self, url: str, login: Login | None) -> "Place":
        """Return this place with the blobs of the server at *url*, if it keeps any.

        Raises:
            StoreUnavailable: no server there.
        """
        shared = shared_blobs(url, login=login)
        return self if shared is None else msgspec.structs.replace(self, blobs=shared)

    @property
    def database(self) -> Path:
        """The projections, owned by one projector process."""
        return self.folder / "projections.duckdb"

    @property
    def nats(self) -> Path:
        """The local server's store and configuration."""
        return self.folder / "nats"

    @property
    def users(self) -> Path:
        """The password of each user of the server, one file each, readable by the owner only."""
        return self.folder / "users"

    def login(self, user: str) -> Login | None:
        """Return the login of *user*, or None where the server was never given users.

        Raises:
            SecretUnfit: others can read its password, or it is empty.
        """
        try:
            return Login(name=user, password=read_secret(self.users / user))
        except FileNotFoundError:
            return None

    @property
    def cache(self) -> Path:
        """What a compiler may keep between runs."""
        return self.folder / "cache"

    @property
    def snapshots(self) -> Snapshots:
        """Folded states, so that long streams load fast; can be deleted at any time."""
        return Snapshots(self.folder / "snapshots", self.keys)

    @property
    def logs(self) -> Path:
        """What each process of the stack had to say, one file each."""
        return self.folder / "logs"

    @property
    def outboxes(self) -> Path:
        """What runs had to tell a log that did not answer, one file each; nowhere else until the log has it."""
        return self.folder / OUTBOXES

    @property
    def stack_file(self) -> Path:
        """Where the running stack says how to reach it."""
        return self.folder / "stack.json"

    @property
    def stack_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.folder / LOCK_FILE
