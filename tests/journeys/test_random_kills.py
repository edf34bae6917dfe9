"""A run dies in any stage of its seeds, at any line, again and again, and comes to what one that lives comes to."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.place import Place
from actors.stack import down, up
from tests.journeys.kills.campaign import STAGES, Campaign, Trial, in_runs, planned, table

HOSTS = ("resnet", "gpt", "lstm")
KILLS, FORKS = 50, 2


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    """A stack of its own, with a connection to its log."""
    place = Place.at(tmp_path / "esper")
    up(place)
    with Campaign(place, tmp_path) as campaign:
        yield campaign
    down(place)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def killed(campaign: Campaign, host: str, deaths: int, seed: int, first_stage: int) -> list[Trial]:
    """Kill runs of a host so many times; a death that a run does not come to is replaced."""
    draw, trials = random.Random(seed), list[Trial]()
    unkilled = campaign.undisturbed(host)
    while missing := deaths - sum(len(trial.died) for trial in trials):
        for run in in_runs(planned(unkilled, missing, draw, first_stage=first_stage)):
            trials.append(campaign.trial(host, run))
            for one in trials[-1].died:
                where = f"{one.death.zone} after step {one.death.after} ({one.death.count})"
                say(f"{host}: {where}: {', '.join(one.stages)}; {one.event}")
            say(f"{host}: run {trials[-1].run_id} identical: {trials[-1].identical}")
    return trials


@pytest.mark.timeout(600)
def test_a_run_that_dies_three_times_ends_as_one_that_does_not(campaign: Campaign):
    trials = killed(campaign, "lstm", 3, seed=5, first_stage=3)
    assert all(trial.identical for trial in trials)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fifty_deaths_of_three_hosts_in_every_stage_change_nothing(campaign: Campaign):
    trials = list[Trial]()
    for number, host in enumerate(HOSTS):
        deaths = KILLS // len(HOSTS) + (number < KILLS % len(HOSTS))
        trials += killed(campaign, host, deaths, seed=number, first_stage=3 * number)
    for line in table(trials):
        say(line)
    assert all(trial.identical for trial in trials)
    assert {stage for trial in trials for one in trial.died for stage in one.stages} >= set(STAGES)
    for host in HOSTS:
        again(campaign, host, [trial.run_id for trial in trials if trial.host == host])


def again(campaign: Campaign, host: str, runs: list[str]) -> None:
    """Train again the run that was killed last, and fork others where the dice say."""
    found, draw = campaign.retrained(host, runs[-1]), random.Random(host)
    assert found.retrained is not None
    say(f"{host}: trained again: {found.retrained}")
    assert found.retrained.identical
    assert found.state == campaign.unkilled[host].state
    for run_id in [campaign.unkilled[host].run_id, *runs][:FORKS]:
        at = draw.choice(campaign.positions(run_id))
        same = campaign.forked(host, run_id, at)
        say(f"{host}: run {run_id} forked at {at}: identical: {same}")
        assert same
