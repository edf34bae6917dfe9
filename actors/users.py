"""Who may do what on the fabric: one user per actor, with what its work needs and nothing else."""

from collections.abc import Mapping

import msgspec

from eventstore.oona.credentials import User
from eventstore.oona.streams import ADVISORY, COMMANDS, DEAD_LETTERS, EMERGENCY, EVENTS, TELEMETRY

_INBOX = "_INBOX.>"
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


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What one user does: which aggregates it records, whom it commands, which queues it works off, what it serves."""

    records: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    works_as: tuple[str, ...] = ()
    reads: tuple[tuple[str, str], ...] = ()
    serves: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def user(self, name: str, password: str) -> User:
        """Return the user with this role."""
        queues = (*self.reads, *((COMMANDS, target) for target in self.works_as))
        publish = [_INBOX, *_LOOK, *self.also]
        publish += [f"esper.evt.{aggregate}.*" for aggregate in self.records]
        publish += [f"esper.cmd.{target}.*" for target in self.commands]
        publish += [f"esper.nonce.{target}.*" for target in self.works_as]
        if queues:
            publish += [f"esper.dead.{stream}.{reader}.*" for stream, reader in queues]
        for stream, reader in queues:
            api = ("CREATE", "INFO", "MSG.NEXT")
            publish += [f"$JS.API.CONSUMER.{verb}.{stream}.{reader}" for verb in api]
            publish += [f"$JS.API.CONSUMER.CREATE.{stream}.{reader}.>", f"$JS.ACK.{stream}.{reader}.>"]
        return User(name=name, password=password, publish=tuple(publish), subscribe=(_INBOX, *self.serves))


_ALARM = "esper.emg.warden"
ROLES: Mapping[str, Role] = {
    "trainer": Role(
        records=("run", "seed", "policy", "report"),
        commands=("urza",),
        also=("esper.tel.tolaria.*", "esper.tel.oona.*"),
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
        also=(_ALARM,),
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
        also=(_ALARM, "esper.nonce.warden.*", f"esper.dead.{COMMANDS}.*.*", "$JS.API.CONSUMER.LIST.*"),
    ),
    "projector": Role(
        records=("breaker",),
        reads=((TELEMETRY, "telemetry"),),
        serves=("esper.health.projector", "esper.qry.projections.>", "esper.qry.projections"),
    ),
    "operator": Role(records=("deadletter",), commands=("*",), also=(f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS}",)),
    "reader": Role(),
}


def users(passwords: Mapping[str, str]) -> tuple[User, ...]:
    """Return a user for each role, and `admin`, who creates the streams and may do everything.

    Raises:
        KeyError: a role, or `admin`, has no password.
    """
    admin = User(name="admin", password=passwords["admin"], publish=(">",), subscribe=(">",))
    return (admin, *(role.user(name, passwords[name]) for name, role in ROLES.items()))
