"""What telemetry is taken under which load, row by row; and that an emergency always is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pressure import CRITICAL, EMERGENCY, HIGH, LOW, NORMAL, FabricLimits, Load, admits, pressure

LIMITS = FabricLimits()


def load(*, depth: int = 0, waiting: int = 0, conservative: bool = False) -> Load:
    return Load(depth=depth, waiting=waiting, capacity=1_000, conservative=conservative)


@pytest.mark.parametrize(
    ("utilisation", "expected"),
    [
        (0.0, 0.0),
        (0.5, 0.0),
        (0.625, 0.25),
        (0.75, 0.5),
        (0.825, 0.65),
        (0.9, 0.8),
        (0.95, 0.9),
        (1.0, 1.0),
        (7.0, 1.0),
    ],
)
def test_pressure_follows_the_curve(utilisation: float, expected: float):
    assert pressure(utilisation) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("priority", "last_taken", "first_refused"),
    [(LOW, 6_999, 7_001), (NORMAL, 7_999, 8_000), (HIGH, 8_999, 9_000), (CRITICAL, 9_749, 9_751)],
)
def test_a_priority_is_refused_from_its_own_depth_on(priority: int, last_taken: int, first_refused: int):
    assert admits(priority, load(depth=last_taken), LIMITS)
    assert not admits(priority, load(depth=first_refused), LIMITS)


@pytest.mark.parametrize(
    ("priority", "last_taken", "first_refused"),
    [(LOW, 499, 500), (NORMAL, 749, 750), (HIGH, 849, 850), (CRITICAL, 949, 950)],
)
def test_a_priority_may_use_its_own_share_of_the_queue(priority: int, last_taken: int, first_refused: int):
    assert admits(priority, load(waiting=last_taken), LIMITS)
    assert not admits(priority, load(waiting=first_refused), LIMITS)


def test_from_the_shed_depth_on_normal_telemetry_is_refused_however_low_the_pressure():
    roomy = FabricLimits(shed_depth=10, cap_depth=10**6)
    assert [admits(priority, load(depth=10), roomy) for priority in (LOW, NORMAL, HIGH)] == [False, False, True]


def test_conservative_mode_takes_only_what_is_critical():
    taken = [admits(priority, load(conservative=True), LIMITS) for priority in (LOW, NORMAL, HIGH, CRITICAL, EMERGENCY)]
    assert taken == [False, False, False, True, True]


def test_conservative_mode_narrows_the_depth_that_critical_telemetry_may_meet():
    assert admits(CRITICAL, load(depth=6_800, conservative=True), LIMITS)
    assert not admits(CRITICAL, load(depth=6_900, conservative=True), LIMITS)
    assert admits(CRITICAL, load(depth=6_900), LIMITS)
    assert not admits(CRITICAL, load(waiting=700, conservative=True), LIMITS)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.booleans())
def test_an_emergency_is_taken_under_any_load(depth: int, waiting: int, conservative: bool):
    assert admits(EMERGENCY, load(depth=depth, waiting=waiting, conservative=conservative), LIMITS)


@given(st.integers(0, 20_000), st.integers(0, 2_000), st.booleans())
def test_what_matters_more_is_never_refused_where_what_matters_less_is_taken(depth: int, waiting: int, mode: bool):
    taken = [
        admits(priority, load(depth=depth, waiting=waiting, conservative=mode), LIMITS) for priority in range(1, 6)
    ]
    assert taken == sorted(taken)
