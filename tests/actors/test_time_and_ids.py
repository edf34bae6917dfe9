"""Clocks that stand still and ids that sort."""

import time
from random import Random

import pytest

from actors.backoff import Backoff
from actors.clock import SystemClock, VirtualClock
from actors.ids import derived_id, new_id
from actors.settings import RestartSettings


def test_a_virtual_clock_moves_only_when_told():
    clock = VirtualClock(now_ns=5)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.monotonic_s()) == (1_500_000_005, 1.5)


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        VirtualClock().advance(-1)


def test_the_system_clock_is_the_machine_s():
    before = time.time_ns()
    assert before <= SystemClock().now_ns() <= time.time_ns()


def test_new_ids_sort_by_the_millisecond_they_were_made_in():
    clock, random = VirtualClock(), Random(1)
    ids: list[str] = []
    for _ in range(50):
        ids.append(new_id(clock, random))
        clock.advance(0.001)
    assert ids == sorted(set(ids))
    assert all(len(made) == 32 and made[12] == "7" and made[16] in "89ab" for made in ids)


def test_the_same_parts_give_the_same_id_and_their_borders_count():
    assert derived_id("run", "7") == derived_id("run", "7")
    assert derived_id("run", "7") != derived_id("run7")


def test_backoff_doubles_up_to_a_limit_and_starts_over_after_a_healthy_life():
    backoff, waits = Backoff(RestartSettings(first_backoff_s=0.2, max_backoff_s=1.0, healthy_after_s=30)), []
    for lived_s in (1, 1, 1, 1, 31, 1):
        backoff = backoff.after(lived_s)
        waits.append(backoff.wait_s)
    assert waits == [0.2, 0.4, 0.8, 1.0, 0.2, 0.4]
