"""Fixtures for the controller's rules."""

import pytest

from esper.tamiyo.rules.heuristic import policy
from esper.tamiyo.rules.memory import PolicyState
from esper.tamiyo.rules.settings import HeuristicSettings
from tests.tamiyo.epochs import epoch, free, offer, pressure

POLICY = policy(HeuristicSettings(min_epoch=1))


@pytest.fixture
def grown() -> PolicyState:
    """The controller's memory after it germinated BP021 at s0 at the end of epoch 1, at score 0.6."""
    command = epoch(1, free(), pressures=(pressure(),), offers=(offer(),), score=0.6)
    return POLICY.fold(POLICY.decide(POLICY.initial, command))
