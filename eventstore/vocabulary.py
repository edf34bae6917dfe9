"""The event types of one program, with the steps that bring old ones up to date."""

from collections.abc import Mapping

from google.protobuf.message import Message

from eventstore.upcasting import Upcaster
from eventstore.v1.archive_pb2 import LogImported


class Vocabulary:
    """An `EventTypes`: message classes with the schema version that each is written under, and upcasters."""

    def __init__(
        self, versions: Mapping[type[Message], int], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        """Take the classes, and for each (type name, schema version) that is no longer written the step from it.

        Raises:
            ValueError: a step leads from a version that is still the newest.
        """
        self._versions = dict(versions)
        self._kinds = {kind.DESCRIPTOR.full_name: kind for kind in versions}
        self._upcasters = dict(upcasters or {})
        current = {(name, self._versions[kind]) for name, kind in self._kinds.items()}
        if wrong := current & self._upcasters.keys():
            raise ValueError(f"{sorted(wrong)} are the newest versions: nothing leads on from them")

    def lookup(self, name: str) -> tuple[type[Message], int] | None:
        """Return the class and newest schema version of event type *name*, or None if it is not known."""
        kind = self._kinds.get(name)
        return None if kind is None else (kind, self._versions[kind])

    def version(self, event: Message) -> int:
        """Return the schema version under which *event* is written."""
        return self._versions[type(event)]

    def upcaster(self, name: str, schema_version: int) -> Upcaster | None:
        """Return the step that leads on from version *schema_version* of type *name*, or None if none does."""
        return self._upcasters.get((name, schema_version))


OWN = Vocabulary({LogImported: 1})
"""What the store itself records, in every log, whatever language it is handed."""
