"""The local stack under a real server: it comes up, heals, outlives nobody it should not, and keeps its data."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.clock import SystemClock
from actors.epoch import begin_epoch
from actors.mortality import alive
from actors.place import Place
from actors.roster import ROSTER
from actors.settings import StackSettings
from actors.stack import StackNotReady, down, ensure_stack, up
from actors.stackfile import StackFile, running_stack, stack_holder
from actors.wellbeing import StackStatus, stack_status
from esper.leyline.registry import COMMANDS, EVENTS
from eventstore.oona.log import open_log
from eventstore.store import Recorded, StreamName

Eventually = Callable[..., Any]
STREAM = StreamName("actor", "visitor")
TRAINER = """
import sys, time
from pathlib import Path
from actors.place import Place
from actors.stack import ensure_stack
ensure_stack(Place.at(Path(sys.argv[1])))
print("joined", flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place.at(tmp_path)
    yield place
    down(place)


def record(place: Place, url: str) -> tuple[Recorded, ...]:
    """Record one more event of a visitor, and return all there are."""

    async def visit() -> tuple[Recorded, ...]:
        async with open_log(url, keys=place.keys, types=EVENTS, commands=COMMANDS, login=place.login("warden")) as log:
            await begin_epoch(log.store, STREAM.aggregate_id, durable=log.durable, clock=SystemClock())
            return tuple(await log.store.read_stream(STREAM))

    return asyncio.run(visit())


def health(place: Place) -> StackStatus | None:
    found = asyncio.run(stack_status(place))
    return found if found.healthy else None


def pid_of(name: str, stack: StackFile | None) -> int:
    assert stack is not None
    return next(process.pid for process in stack.processes if process.name == name)


def healed(place: Place, name: str, old_pid: int) -> StackStatus | None:
    """Return the stack's status if it is well, with another process for *name*."""
    found = health(place)
    return found if found and pid_of(name, found.stack) != old_pid else None


def test_up_twice_is_one_stack_and_down_keeps_the_data(place: Place):
    first = up(place)
    assert up(place).pid == first.pid
    recorded = record(place, first.url)
    assert down(place)
    assert (stack_holder(place), running_stack(place), down(place)) == (None, None, False)
    assert record(place, up(place).url)[: len(recorded)] == recorded


def test_whatever_is_killed_comes_back_where_it_was(place: Place, eventually: Eventually):
    stack = up(place)
    recorded = record(place, stack.url)
    for name in [process.name for process in stack.processes]:
        victim = pid_of(name, running_stack(place))
        os.kill(victim, signal.SIGKILL)
        found = eventually(lambda name=name, victim=victim: healed(place, name, victim), 30)
        assert (found.stack.url, found.stack.pid, found.durable) == (stack.url, stack.pid, True)
        assert next(process for process in found.stack.processes if process.name == name).restarts >= 1
    assert record(place, stack.url)[: len(recorded)] == recorded
    assert {answer.name for answer in found.answers} == {actor.name for actor in ROSTER}
    assert all(answer.epoch >= 2 for answer in found.answers if answer.name != "projector")


def test_a_killed_supervisor_takes_its_stack_along_and_leaves_no_false_trace(place: Place, eventually: Eventually):
    stack = up(place)
    os.kill(stack.pid, signal.SIGKILL)
    pids = [process.pid for process in stack.processes]
    eventually(lambda: not any(alive(pid) for pid in pids), 20)
    assert running_stack(place) is None
    assert up(place).pid != stack.pid


def test_an_embedded_stack_ends_with_a_trainer_that_was_killed(place: Place, eventually: Eventually):
    trainer = subprocess.Popen([sys.executable, "-c", TRAINER, str(place.folder)], stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "joined\n"
    stack = running_stack(place)
    assert stack is not None
    trainer.kill()
    trainer.communicate()
    eventually(lambda: stack_holder(place) is None, 30)
    assert not any(alive(process.pid) for process in stack.processes)


def test_an_embedded_stack_stays_until_its_last_user_leaves(place: Place):
    first, second = ensure_stack(place), ensure_stack(place)
    assert first.url == second.url
    first.close()
    first.close()
    assert running_stack(place) is not None
    second.close()
    assert stack_holder(place) is None


def test_up_makes_an_embedded_stack_stay(place: Place):
    handle = ensure_stack(place)
    assert up(place).url == handle.url
    handle.close()
    assert health(place) is not None


def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ESPER_LEYLINE_SECRET", "")
    with pytest.raises(StackNotReady, match=r"weatherlight: .*ESPER_LEYLINE_SECRET"):
        up(place)
    assert stack_holder(place) is None


def test_a_stack_that_is_too_slow_is_ended(place: Place):
    with pytest.raises(StackNotReady, match=r"not ready after 0\.01 s"):
        up(place, StackSettings(start_timeout_s=0.01))
    assert stack_holder(place) is None


def test_a_folder_without_a_stack_has_no_health(place: Place):
    assert asyncio.run(stack_status(place)).stack is None
