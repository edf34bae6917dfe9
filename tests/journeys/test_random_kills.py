"""A run dies in any stage of its seeds, at any line, again and again, and comes to what one that lives comes to."""

import random
import sys
from collections.abc import Iterator

import pytest

from actors.place import Place
from actors.stack import down, up
from tests.journeys.kills.campaign import STAGES, Campaign, Trial, in_runs, planned, table
from tests.journeys.kills.tripwire import Death

HOSTS = ("resnet", "gpt", "lstm")
KILLS, FORKS = 50, 2


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """A stack of its own, with a connection to its log."""
    folder = tmp_path_factory.mktemp("kills")
    place = Place.at(folder / "esper")
    up(place)
    with Campaign(place, folder) as campaign:
        yield campaign
    down(place)


def say(line: str) -> None:
    """Tell how far it is: the whole takes its time."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def killed(campaign: Campaign, deaths: dict[str, int]) -> list[Trial]:
    """Kill runs of each host so many times, in turns; a death that a run does not come to is replaced."""
    draws, trials = {host: random.Random(host) for host in deaths}, list[Trial]()
    while True:
        plans = list[tuple[str, tuple[Death, ...]]]()
        for number, host in enumerate(deaths):
            missing = deaths[host] - sum(len(trial.died) for trial in trials if trial.host == host)
            plan = planned(campaign.undisturbed(host), missing, draws[host], first=3 * number)
            plans += [(host, run) for run in in_runs(plan)]
        if not plans:
            return trials
        random.Random(len(plans)).shuffle(plans)
        for host, run in plans:
            trials.append(campaign.trial(host, run))
            tell(trials[-1])


def tell(trial: Trial) -> None:
    """Say where a run died, what the log held of its slots then, and what became of it."""
    for one in trial.died:
        where = f"{one.death.zone} after step {one.death.after} ({one.death.count})"
        say(f"{one.host}: {where}: {', '.join(one.stages)}; {one.event}")
    say(f"{trial.host}: run {trial.run_id} identical: {trial.identical}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_dies_three_times_ends_as_one_that_does_not(campaign: Campaign):
    assert all(trial.identical for trial in killed(campaign, {"lstm": 3}))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("host", HOSTS)
def test_a_life_is_trained_again_and_forked_anywhere_to_the_same_bits(campaign: Campaign, host: str):
    life, draw = campaign.undisturbed(host), random.Random(host)
    found = campaign.retrained(host, life.run_id)
    say(f"{host}: trained again: {found.retrained}")
    assert found.retrained is not None
    assert found.retrained.identical
    assert found.state == life.state
    for _ in range(FORKS):
        at = draw.choice(campaign.positions(life.run_id))
        say(f"{host}: forked at {at} of {campaign.positions(life.run_id)}")
        assert campaign.forked(host, life.run_id, at)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fifty_deaths_of_three_hosts_in_every_stage_change_nothing(campaign: Campaign):
    each, more = divmod(KILLS, len(HOSTS))
    trials = killed(campaign, {host: each + (number < more) for number, host in enumerate(HOSTS)})
    for line in table(trials):
        say(line)
    assert all(trial.identical for trial in trials)
    assert {stage for trial in trials for one in trial.died for stage in one.stages} >= set(STAGES)
    for host in HOSTS:
        last = [trial.run_id for trial in trials if trial.host == host][-1]
        found = campaign.retrained(host, last)
        assert found.retrained is not None
        assert found.retrained.identical
