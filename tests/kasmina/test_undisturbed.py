"""What an extra evaluation leaves as it was."""

import random

import numpy as np
import torch

from esper.kasmina.draws import OwnDraws
from esper.kasmina.isolation import strangers, violations
from esper.kasmina.undisturbed import undisturbed
from tests.kasmina.growing_host import Host, SpanSeed, digits, same, weights


def test_an_undisturbed_evaluation_leaves_random_streams_buffers_modes_and_gradients():
    model = Host()
    images = digits(8)[0]
    model(images).sum().backward()
    model.norm.eval()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    before = [*weights(model), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
    expected = (torch.rand(1).item(), random.random(), np.random.rand())
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    with undisturbed(model):
        model.train()
        model(images).sum().backward()
        random.random()
        np.random.rand()
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected
    assert same(before, [*weights(model), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert (model.training, model.norm.training) == (True, False)


def test_own_draws_are_repeatable_and_go_on_where_they_stopped():
    def drawn(draws: OwnDraws) -> list[float]:
        with draws.on(torch.device("cpu")):
            return torch.rand(2).tolist()

    whole, halves = OwnDraws(3), OwnDraws(3)
    first = drawn(whole)
    torch.rand(5)
    resumed = OwnDraws(0)
    assert drawn(halves) == first
    resumed.restore(halves.tensors())
    assert drawn(resumed) == drawn(whole)


def test_a_seed_of_its_own_ties_nothing_to_the_host():
    assert violations(SpanSeed(), Host(), torch.ones(2, 1, 8, 8)) == 0


def test_a_seed_that_was_fed_undetached_features_reaches_the_host():
    host, seed = Host(), SpanSeed()
    features = host.conv(torch.ones(2, 1, 8, 8))[:, :1]
    reached = strangers(seed(features).sum(), seed.parameters())
    assert {id(leaf) for leaf in reached} == {id(host.conv.weight), id(host.conv.bias)}
