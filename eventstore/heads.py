"""What a writer knows of the end of a stream."""

from collections.abc import Sequence

import msgspec

from eventstore.commit import START, Link, link_after
from eventstore.store import Recorded


class Head(msgspec.Struct):
    """Where one stream ends, and at which position each of its commits stands. Grows; never shrinks."""

    link: Link = START
    positions: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    position: int = 0

    def extend(self, data: bytes, events: Sequence[Recorded]) -> None:
        """Note the next commit: its stored bytes and its events. One that is known already is passed over."""
        if events[0].position > self.position:
            self.link = link_after(data, events)
            self.position = events[0].position
            self.positions[events[0].commit_id] = self.position

    def copy(self) -> "Head":
        """Return a head of its own that can grow without this one."""
        return Head(self.link, dict(self.positions), self.position)
