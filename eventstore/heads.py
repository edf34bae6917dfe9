"""What a writer knows of the end of a stream."""

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from eventstore.commit import START, Link, link_after
from eventstore.store import Mark, Recorded, StreamName


class End(msgspec.Struct, frozen=True):
    """How a stream stood after one of its commits: its chain's link, and that commit's place in the log."""

    link: Link = START
    position: int = 0


class Head:
    """How one stream stood after each of its commits. Grows; never shrinks."""

    def __init__(self) -> None:
        self._ends = [End()]
        self._commits: dict[str, tuple[int, int]] = {}

    @classmethod
    def at(cls, mark: Mark) -> "Head":
        """Return the head of the stream that *mark* was taken from, as it stood then."""
        head = cls()
        head._ends.append(_end(mark))
        head._commits.update(mark.commits)
        return head

    @property
    def end(self) -> End:
        """How it stands now."""
        return self._ends[-1]

    @property
    def version(self) -> int:
        """The version of its last event; 0 before the first."""
        return self.end.link.version

    def position_of(self, commit: str) -> int | None:
        """Return where in the log the commit called *commit* is, or None if it is not known here."""
        known = self._commits.get(commit)
        return None if known is None else known[0]

    def end_at(self, version: int) -> End:
        """Return how it stood after the last commit whose events all have versions up to *version*."""
        return self._ends[bisect_right(self._ends, version, key=lambda end: end.link.version) - 1]

    def positions(self) -> Sequence[int]:
        """Return the places of all its commits, in order."""
        return [end.position for end in self._ends[1:]]

    def mark(self, stream: StreamName, version: int) -> Mark | None:
        """Return how *stream*, whose head this is, stood at *version*; None if no commit known here ends there."""
        end = self.end_at(version)
        if version == 0 or end.link.version != version:
            return None
        commits = {commit: known for commit, known in self._commits.items() if known[0] <= end.position}
        return Mark(stream=stream, version=version, position=end.position, sha256=end.link.sha256, commits=commits)

    def holds(self, mark: Mark) -> bool:
        """Say whether this head has seen the very commit that *mark* was taken at."""
        return self.end_at(mark.version) == _end(mark)

    def extend(self, data: bytes, events: Sequence[Recorded]) -> None:
        """Note the next commit: its stored bytes and its events. One that is known already is passed over."""
        if events[0].position > self.end.position:
            self._ends.append(End(link_after(data, events), events[0].position))
            self._commits[events[0].commit_id] = events[0].position, events[0].version


def _end(mark: Mark) -> End:
    return End(Link(mark.version, mark.sha256), mark.position)
