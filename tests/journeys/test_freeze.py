"""An operator freezes a run that trains on a running stack, as its own user of the server."""

from pathlib import Path
from time import perf_counter

import pytest
import torch

import esper
from actors.place import Place
from actors.stack import down, up
from esper.leyline.v1.run_pb2 import GrowthFrozen, GrowthThawed
from ops.cli.main import run
from tests.api.hosts import digits, train_step
from tests.api.scripted_log import FAST, narrow


@pytest.mark.slow
def test_a_run_that_trains_heeds_esper_freeze_and_thaw(tmp_path: Path):
    place = Place.at(tmp_path / ".esper")
    up(place)
    model, data = esper.wrap(narrow(), sites=[("0", "2")]), digits()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    batches = list(data.batches(32))
    with esper.attach(model, optimizer, evaluate=data.score, settings=FAST, folder=place.folder) as session:
        for command, frozen in (("freeze", True), ("thaw", False)):
            assert run([command, "latest", "--reason", "a drill", "--folder", str(place.folder)]) == 0
            told, steps = perf_counter(), 0
            while (session._fences.brake.pulled is not None) is not frozen:
                session.step(train_step(model, optimizer, *batches[steps % len(batches)]))
                steps += 1
                assert perf_counter() < told + 60
        run_id = session.run_id
    with esper.open_run(run_id, folder=place.folder) as recorded:
        (frozen,), (thawed,) = recorded.events("GrowthFrozen"), recorded.events("GrowthThawed")
    assert isinstance(frozen.event, GrowthFrozen)
    assert isinstance(thawed.event, GrowthThawed)
    assert frozen.context.actor == thawed.context.actor == "operator"
    down(place)
