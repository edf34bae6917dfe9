"""Who may do what on the fabric: one user per actor, with what its work needs and nothing else."""

from collections.abc import Mapping

import msgspec

from actors.place import Place
from eventstore.oona.credentials import User, inbox_of
from eventstore.oona.objects import BUCKET
from eventstore.oona.streams import ADVISORY, COMMANDS, DEAD_LETTERS, EMERGENCY, EVENTS, TELEMETRY
from eventstore.secret_file import create_secret, read_secret

# What every client asks: about streams, for one message, and to read the log without leaving a trace in it.
_LOOK = (
    "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*",
    *(
        f"$JS.API.CONSUMER.{verb}.{stream}.>"
        for verb in ("CREATE", "MSG.NEXT", "DELETE")
        for stream in (EVENTS, DEAD_LETTERS)
    ),
    "esper.qry.>",
    "esper.health.*",
)
ADMIN = "admin"
_ANY = "*"
_BLOBS = (f"$O.{BUCKET}.C.*", f"$O.{BUCKET}.M.*")


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What one user does: which aggregates it records, whom it commands, which queues it works off, what it serves."""

    records: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    works_as: tuple[str, ...] = ()
    reads: tuple[tuple[str, str], ...] = ()
    serves: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def queues(self) -> tuple[tuple[str, str], ...]:
        """The durable readers that are this role's alone: stream and name."""
        return (*self.reads, *((COMMANDS, target) for target in self.works_as))

    def user(self, name: str, password: str) -> User:
        """Return the user with this role."""
        queues = self.queues
        publish = [*_LOOK, *self.also]
        publish += [f"esper.evt.{aggregate}.*" for aggregate in self.records]
        publish += [f"esper.cmd.{target}.*" for target in self.commands]
        publish += [f"esper.nonce.{target}.*" for target in self.works_as]
        if queues:
            publish += [f"esper.dead.{stream}.{reader}.*" for stream, reader in queues]
        for stream, reader in queues:
            api = ("CREATE", "INFO", "MSG.NEXT")
            publish += [f"$JS.API.CONSUMER.{verb}.{stream}.{reader}" for verb in api]
            publish += [f"$JS.API.CONSUMER.CREATE.{stream}.{reader}.>", f"$JS.ACK.{stream}.{reader}.>"]
        theirs = [queue for role in ROLES.values() for queue in role.queues if queue not in queues]
        return User(
            name=name,
            password=password,
            publish=tuple(publish),
            subscribe=(f"{inbox_of(name)}.>", *self.serves),
            deny=tuple(f"$JS.API.CONSUMER.{verb}" for stream, reader in theirs for verb in _touching(stream, reader)),
            answers=bool(self.serves),
        )


def _touching(stream: str, reader: str) -> tuple[str, ...]:
    """Return what would take messages from *reader*, change it or end it."""
    return (
        f"CREATE.{stream}.{reader}",
        f"CREATE.{stream}.{reader}.>",
        f"MSG.NEXT.{stream}.{reader}",
        f"DELETE.{stream}.{reader}",
    )


_ALARM = "esper.emg.warden"
ROLES: Mapping[str, Role] = {
    "trainer": Role(
        records=("run", "seed", "policy", "report"),
        commands=("urza",),
        also=("esper.tel.tolaria.*", "esper.tel.kasmina.*", "esper.tel.oona.*", *_BLOBS),
    ),
    "urza": Role(
        records=("blueprint", "kernel", "actor", "breaker"),
        commands=("tezzeret",),
        works_as=("urza",),
        reads=((EVENTS, "urza-compiled"),),
        serves=("esper.health.librarian",),
        also=(_ALARM,),
    ),
    "tezzeret": Role(
        records=("job", "actor", "breaker"),
        works_as=("tezzeret",),
        serves=("esper.health.forge",),
        also=(_ALARM, *_BLOBS),
    ),
    "warden": Role(
        records=("deadletter", "emergency", "actor", "breaker", "fabric"),
        reads=(
            (EMERGENCY, "warden"),
            (DEAD_LETTERS, "dead-letters"),
            (ADVISORY, "dead-letters"),
            (EVENTS, "warden-breakers"),
        ),
        serves=("esper.health.warden", "esper.qry.fabric"),
        also=(
            _ALARM,
            "esper.nonce.warden.*",
            f"esper.dead.{COMMANDS}.*.*",
            "$JS.API.CONSUMER.LIST.*",
            f"$JS.API.STREAM.PURGE.{COMMANDS}",
        ),
    ),
    "projector": Role(
        records=("breaker",),
        reads=((TELEMETRY, "telemetry"),),
        serves=("esper.health.projector", "esper.qry.projections.>", "esper.qry.projections"),
    ),
    # Drops and retries dead letters, brings in archives, takes backups.
    "operator": Role(
        records=(_ANY,),
        commands=(_ANY,),
        also=(
            f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}",
            f"$JS.API.STREAM.SNAPSHOT.{EVENTS}",
            f"$JS.SNAPSHOT.ACK.{EVENTS}.>",
            *_BLOBS,
        ),
    ),
    "reader": Role(),
}


def users_of(place: Place) -> tuple[User, ...]:
    """Return the users of the server of *place*, each with its own password, made where there is none yet.

    Raises:
        SecretUnfit: others can read a password, or it is empty.
    """
    names = (ADMIN, *ROLES)
    place.users.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        create_secret(place.users / name)
    return users({name: read_secret(place.users / name) for name in names})


def users(passwords: Mapping[str, str]) -> tuple[User, ...]:
    """Return a user for each role, and `admin`, who creates the streams and may do everything.

    Raises:
        KeyError: a role, or `admin`, has no password.
    """
    admin = User(name=ADMIN, password=passwords[ADMIN], publish=(">",), subscribe=(">",))
    return (admin, *(role.user(name, passwords[name]) for name, role in ROLES.items()))
