"""Processes that end with others, and locks that end with their holders."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors import tenants
from actors.mortality import alive, birth, gone
from actors.place import Place
from actors.stackfile import StackBusy, StackFile, holding_stack, running_stack, stack_holder

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
HOLDER = """
import sys, time
from pathlib import Path
from actors.place import Place
from actors.stackfile import holding_stack
with holding_stack(Place.at(Path(sys.argv[1]))):
    print("up", flush=True)
    time.sleep(60)
"""
# A parent that starts a child, which dies with it, and then tells the child's number.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import os, sys, time
from actors.mortality import die_with
die_with(int(sys.argv[1]))
print(os.getpid(), flush=True)
time.sleep(60)
''', str(__import__("os").getpid())])
time.sleep(60)
"""


def started(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    """Start *command* and return it with the first line it writes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.at(tmp_path, {})


async def test_the_end_of_a_process_is_noticed_and_a_zombie_counts_as_ended():
    process, _ = started(SLEEPER)
    watch = asyncio.create_task(gone(process.pid))
    await asyncio.sleep(0)
    assert alive(process.pid)
    assert not watch.done()
    process.send_signal(signal.SIGKILL)
    async with asyncio.timeout(10):
        await watch
    assert not alive(process.pid)
    killed(process)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
async def test_a_child_does_not_outlive_a_parent_that_was_killed():
    parent, child = started([sys.executable, "-c", PARENT])
    killed(parent)
    async with asyncio.timeout(10):
        await gone(int(child))


def test_a_stack_s_lock_names_its_holder_and_ends_with_it(place: Place):
    assert stack_holder(place) is None
    process, _ = started([sys.executable, "-c", HOLDER, str(place.folder)])
    assert stack_holder(place) == process.pid
    with pytest.raises(StackBusy, match=str(process.pid)), holding_stack(place, wait_s=0):
        pass
    killed(process)
    assert stack_holder(place) is None
    with holding_stack(place, wait_s=0):
        assert stack_holder(place) == os.getpid()


def test_what_a_killed_stack_left_behind_is_not_believed(place: Place):
    described = StackFile(url="", monitor_url="", pid=os.getpid(), embedded=True, started_at_ns=1, processes=())
    with holding_stack(place):
        described.write(place)
        assert running_stack(place) == described
    assert running_stack(place) is None


def test_a_process_uses_a_stack_until_it_left_as_often_as_it_entered(place: Place):
    first, second = (tenants.enter(place, os.getpid()) for _ in range(2))
    tenants.leave(first)
    assert tenants.living(place) == {os.getpid()}
    tenants.leave(second)
    assert tenants.living(place) == frozenset()


def test_a_killed_user_is_forgotten_and_a_later_process_of_its_number_is_not_taken_for_it(place: Place):
    process, _ = started(SLEEPER)
    tenants.enter(place, process.pid)
    tenants.enter(place, os.getpid()).write_text("born at another time")
    assert tenants.living(place) == {process.pid}
    killed(process)
    assert tenants.living(place) == frozenset()
    assert birth(os.getpid()) != "born at another time"
