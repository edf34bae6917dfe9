"""A queue in memory whose letters come back until they are settled."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

Content = TypeVar("Content")


class Letter(Generic[Content]):
    """Something to be delivered, how often it was, and whether it is done with."""

    def __init__(self, content: Content, on_settled: Callable[[], None] = lambda: None) -> None:
        self.content = content
        self.on_settled = on_settled
        self.attempt = 0
        self.settled = False
        self.waiting = False
        self.number = 0
        self.clock: asyncio.TimerHandle | None = None

    def stop_clock(self) -> None:
        """No redelivery from the present clock."""
        if self.clock is not None:
            self.clock.cancel()


class Letters(Generic[Content]):
    """Letters waiting to be taken, oldest first; one that is taken and not settled in time waits again."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: list[tuple[int, Letter[Content]]] = []
        self._woken = asyncio.Event()

    def offer(self, letter: Letter[Content]) -> None:
        """Let *letter* be taken (again)."""
        letter.number = letter.number or next(self._numbers)
        if not letter.waiting:
            letter.waiting = True
            heapq.heappush(self._waiting, (letter.number, letter))
        self._woken.set()

    async def take(self, ack_wait_s: float) -> Letter[Content]:
        """Wait for the oldest letter that is not settled; it comes back in *ack_wait_s* seconds unless settled."""
        while True:
            while self._waiting:
                _, letter = heapq.heappop(self._waiting)
                letter.waiting = False
                if not letter.settled:
                    letter.attempt += 1
                    self.restart_clock(letter, ack_wait_s)
                    return letter
            self._woken.clear()
            await self._woken.wait()

    async def take_until_settled(self, letter: Letter[Content], ack_wait_s: float) -> bool:
        """Wait until *letter*, the only one here, can be taken (True) or is settled (False)."""
        while not letter.settled:
            if letter.waiting:
                await self.take(ack_wait_s)
                return True
            self._woken.clear()
            await self._woken.wait()
        return False

    def restart_clock(self, letter: Letter[Content], delay_s: float) -> None:
        """Offer *letter* again in *delay_s* seconds, whatever was planned before."""
        letter.stop_clock()
        letter.clock = asyncio.get_running_loop().call_later(delay_s, self.offer, letter)

    def settle(self, letter: Letter[Content]) -> None:
        """Never deliver *letter* again."""
        letter.stop_clock()
        letter.settled = True
        letter.on_settled()
        self._woken.set()


class LetterDelivery(Generic[Content]):
    """One delivered letter and the verbs that end it."""

    def __init__(
        self,
        letters: Letters[Content],
        letter: Letter[Content],
        ack_wait_s: float,
        bury: Callable[[Content, str], None],
    ) -> None:
        self._letters = letters
        self._letter = letter
        self._ack_wait_s = ack_wait_s
        self._bury = bury
        self._attempt = letter.attempt

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        return self._attempt

    async def ack(self) -> None:
        """It is done: never deliver it again."""
        self._letters.settle(self._letter)

    async def retry_later(self, delay_s: float) -> None:
        """Deliver it again after *delay_s* seconds."""
        self._letters.restart_clock(self._letter, delay_s)

    async def in_progress(self) -> None:
        """Still at work: start the redelivery clock anew."""
        self._letters.restart_clock(self._letter, self._ack_wait_s)

    async def dead_letter(self, error: str) -> None:
        """Keep it and *error* among the dead letters, then never deliver it again."""
        self._bury(self._letter.content, error)
        self._letters.settle(self._letter)
