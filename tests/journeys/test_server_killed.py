"""The server dies while a run writes to it: nothing acknowledged is lost, training goes on, growth comes back."""

import torch

import esper
from esper.api.session import Session
from esper.leyline.v1.policy_pb2 import DecisionMissed
from esper.leyline.v1.run_pb2 import EpochEnded
from tests.api.hosts import Digits, digits, narrow, train_step
from tests.journeys.conftest import Works


def epoch(session: Session, model: torch.nn.Module, optimizer: torch.optim.Optimizer, data: Digits) -> None:
    for x, y in data.batches():
        session.step(train_step(model, optimizer, x, y))
    session.end_epoch()


def test_training_goes_on_without_the_server_and_grows_again_when_it_is_back(works: Works):
    data, said = digits(), []
    torch.manual_seed(0)
    model = esper.wrap(narrow(3), sites=[("0", "2")])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with esper.attach(
        model,
        optimizer,
        evaluate=data.score,
        log=works.server.url,
        folder=works.place.folder,
        settings=esper.GrowthSettings(decision_wait_s=2.0),
        say=said.append,
    ) as session:
        epoch(session, model, optimizer, data)
        acknowledged = works.recorded()
        works.kill_server()

        weights = [parameter.detach().clone() for parameter in model.parameters()]
        for _ in range(2):
            epoch(session, model, optimizer, data)
        assert session.stages["0 -> 2"] == "dormant"
        assert all(not torch.equal(now, then) for now, then in zip(model.parameters(), weights, strict=True))
        assert sum("did not answer" in line for line in said) == 2

        works.restart_server()
        while session.epoch < 20 and session.stages["0 -> 2"] != "probationary":
            epoch(session, model, optimizer, data)
        assert session.stages["0 -> 2"] == "probationary"
    after = works.recorded()
    assert [event.event_id for event in after[: len(acknowledged)]] == [event.event_id for event in acknowledged]
    epochs = [event.event.facts.at.epoch for event in after if isinstance(event.event, EpochEnded)]
    assert epochs == list(range(1, session.epoch + 1))
    # Epochs are so short here that more of them may pass before the client has found the server again.
    missed = [event.event.at.epoch for event in after if isinstance(event.event, DecisionMissed)]
    assert missed == list(range(2, 2 + len(missed)))
    assert len(missed) >= 2
