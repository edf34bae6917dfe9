"""A bounded queue that gives up what matters least when there is too much, and counts everything."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

PRIORITIES = (1, 2, 3, 4, 5)
NEVER_SHED = PRIORITIES[-1]

Admission: TypeAlias = Callable[[int, int], bool]
"""Whether a message of this priority is taken when so many wait."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """Something to be sent; the priority is 1 (least) to 5 (never shed)."""

    subject: str
    data: bytes
    priority: int


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every message that was offered: `offered` is the sum of all the others, always.

    `stored` was acknowledged. `shed` was given up on purpose, by priority. `lost` was sent and never acknowledged: it
    may be stored or not. `waiting` is in the queue or on its way.
    """

    offered: int = 0
    stored: int = 0
    shed: Mapping[int, int] = {}
    lost: int = 0
    waiting: int = 0


def everything(priority: int, waiting: int) -> bool:
    """Admit every message: only a full queue sheds."""
    return True


class SheddingQueue:
    """Takes messages from any thread without ever waiting or raising; hands them out, the most important first.

    Within a priority they come out in the order in which they were offered. When full, the oldest of the least
    important that wait is shed, or the newcomer if it matters less than they all do.
    """

    def __init__(self, capacity: int) -> None:
        self.admission: Admission = everything
        self.capacity = capacity
        self._lanes: dict[int, deque[Message]] = {priority: deque() for priority in reversed(PRIORITIES)}
        self._lock = threading.Lock()
        self._queued = self._under_way = self._offered = self._stored = self._lost = 0
        self._shed: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._queued

    @property
    def counts(self) -> Counts:
        """What became of what was offered so far."""
        with self._lock:
            return Counts(
                offered=self._offered,
                stored=self._stored,
                shed=dict(self._shed),
                lost=self._lost,
                waiting=self._queued + self._under_way,
            )

    def offer(self, message: Message) -> bool:
        """Take *message*, or shed one: return whether this one waits now."""
        with self._lock:
            self._offered += 1
            if message.priority < NEVER_SHED and not self.admission(message.priority, self._queued):
                self._shed[message.priority] += 1
                return False
            if self._queued >= self.capacity:
                return self._made_room(message)
            self._lanes[message.priority].append(message)
            self._queued += 1
            return True

    def take(self, at_most: int) -> list[Message]:
        """Hand out messages; each must then be reported as `settle`d or given back."""
        taken: list[Message] = []
        with self._lock:
            for lane in self._lanes.values():
                while lane and len(taken) < at_most:
                    taken.append(lane.popleft())
            self._queued -= len(taken)
            self._under_way += len(taken)
        return taken

    def settle(self, *, stored: int = 0, lost: int = 0) -> None:
        """Say what became of messages that were taken."""
        with self._lock:
            self._stored += stored
            self._lost += lost
            self._under_way -= stored + lost

    def give_back(self, messages: Sequence[Message]) -> None:
        """Put *messages*, which were taken and not sent, back where they were; what no longer fits is shed."""
        with self._lock:
            self._under_way -= len(messages)
            for message in reversed(messages):
                if self._queued < self.capacity or message.priority == NEVER_SHED:
                    self._lanes[message.priority].appendleft(message)
                    self._queued += 1
                else:
                    self._shed[message.priority] += 1

    def _made_room(self, message: Message) -> bool:
        """The queue is full: shed the oldest of the least important, or *message* itself."""
        least = next(priority for priority in PRIORITIES if self._lanes[priority] or priority == message.priority)
        if least == NEVER_SHED:
            self._queued += 1
        else:
            self._shed[least] += 1
            if not self._lanes[least]:
                return False
            self._lanes[least].popleft()
        self._lanes[message.priority].append(message)
        return True
