"""`esper.open_run`: a recorded run looked into through the running stack."""

import asyncio
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import esper
from actors.place import Place
from esper.api.errors import PackageMissing, UnknownRun
from esper.api.recorded_run import RecordedRun
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.projection.errors import QueryRefused
from tests.ops.story import RUN_ID, tell_story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Place.at(tmp_path_factory.mktemp("told") / ".esper", {})

    async def tell() -> None:
        server = LocalServer(place.folder, tied=True)
        await server.start()
        async with open_log(server.url, keys=place.keys, types=EVENTS, commands=COMMANDS) as log:
            await tell_story(log.store)
        await server.stop()

    asyncio.run(tell())
    return place.folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Iterator[RecordedRun]:
    with esper.open_run("latest", folder=folder) as run:
        yield run


def test_the_newest_run_is_found_with_its_facts(run: RecordedRun) -> None:
    assert run.run_id == RUN_ID
    assert run.facts.model_class


def test_its_events_are_chosen_by_type_and_slot(run: RecordedRun) -> None:
    assert {one.event.DESCRIPTOR.name for one in run.events("culled")} == {"SeedCulled"}
    assert {one.stream.aggregate_id[-2:] for one in run.events(seed="s0") if one.stream.aggregate == "seed"} == {"s0"}


def test_why_walks_back_to_the_root(run: RecordedRun) -> None:
    links = run.why(run.events("SeedGerminated")[0])
    assert [one.event.DESCRIPTOR.name for one in links[:2]] == ["SeedGerminated", "DecisionMade"]
    assert [one.position for one in links] == sorted((one.position for one in links), reverse=True)


def test_the_state_is_folded_up_to_a_position(run: RecordedRun) -> None:
    kept = run.events("SeedFossilized")[0]
    before, after = run.state(kept.position - 1), run.state(kept.position)
    slot = kept.stream.aggregate_id.rpartition("-")[2]
    assert before.seeds[slot].stage != after.seeds[slot].stage == SeedLifecycleStage.SEED_STAGE_FOSSILIZED
    assert not before.run.finished
    assert run.state().run.finished


def test_a_view_comes_as_a_data_frame_now_and_then(run: RecordedRun) -> None:
    lives = run.frame("seed_lifecycle").df()
    assert sorted(lives["outcome"]) == ["culled", "kept"]
    first = run.frame("events", at=5)
    assert (first.position, max(first.arrow().column("position").to_pylist())) == (5, 5)


def test_a_view_that_knows_no_runs_comes_whole(run: RecordedRun) -> None:
    assert "kernel_key" in run.frame("kernel_catalogue").columns


def test_what_is_refused_in_sql_is_refused_here(run: RecordedRun) -> None:
    with pytest.raises(QueryRefused):
        run.sql("delete from events")


def test_a_missing_package_is_named(run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(import_module("sys").modules, "pandas", None)
    with pytest.raises(PackageMissing, match="pip install pandas"):
        run.frame("seed_lifecycle").df()


def test_no_log_and_no_run_are_named_and_nothing_is_created(tmp_path: Path) -> None:
    with pytest.raises(UnknownRun, match="no run 'latest'"):
        esper.open_run(folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()
