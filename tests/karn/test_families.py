"""What single blueprints promise beside the contract of all."""

import socket
import sys
from collections.abc import Mapping

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from esper.karn.builders import build
from esper.karn.modules.attention import CachedAttention
from esper.karn.modules.experts import MixtureOfExperts
from esper.leyline.v1.site_pb2 import SiteShape
from tests.karn.sites import inputs, shape
from tests.karn.test_contract import leave_birth

SEQUENCE = shape((12, 16))


def made(blueprint_id: str, where: SiteShape = SEQUENCE, **parameters: float) -> nn.Module:
    module = build(blueprint_id, parameters, where, 4)
    leave_birth(module)
    return module


def test_statistics_and_clamp_change_nothing_that_flows_forward():
    features = inputs(SEQUENCE)
    for blueprint_id in ("BP-MON-ACT-STATS", "BP-CLAMP-GRAD-NORM"):
        assert torch.equal(made(blueprint_id)(features), features)


def test_activation_statistics_are_those_of_the_activations():
    module = made("BP-MON-ACT-STATS", bins=16)
    features = inputs(SEQUENCE, 64) * 2.0 + 1.0
    for _ in range(200):
        module(features)
    seen = features.flatten(0, 1)
    found = dict(module.named_buffers())
    assert torch.allclose(found["moments.running_mean"], seen.mean(0), atol=1e-3)
    assert torch.allclose(found["moments.running_var"], seen.var(0), rtol=1e-2)
    shares = torch.histc(seen, 16, -6.0, 6.0) / ((seen >= -6.0) & (seen <= 6.0)).sum()
    assert torch.allclose(found["histogram.running_mean"], shares, atol=1e-3)
    module.eval()
    module(features * 100.0)
    assert torch.allclose(found["moments.running_mean"], seen.mean(0), atol=1e-3)


@pytest.mark.parametrize(("sent", "comes"), [(0.5, 0.5), (7.0, 2.0)])
def test_a_gradient_is_shortened_to_the_norm_and_no_further(sent: float, comes: float):
    features = inputs(SEQUENCE).requires_grad_()
    output = made("BP-CLAMP-GRAD-NORM", norm=2.0)(features)
    wish = torch.zeros_like(output)
    wish[0, 0, 0] = sent
    output.backward(wish)
    assert features.grad is not None
    assert float(features.grad.norm()) == pytest.approx(comes)


def test_eight_bits_keep_a_number_to_a_254th_of_the_greatest_of_its_head():
    module = made("BP-KV-CACHE-8BIT")
    assert isinstance(module, CachedAttention)
    kept_of = inputs(shape((4, 9, 5)))
    error = (module.kept(kept_of) - kept_of).abs().amax((-1, -2))
    bound = kept_of.abs().amax((-1, -2)) / 254.0
    assert bool((error <= bound * 1.001).all())
    assert bool((error > 0.0).all())
    assert kept_of.shape[1] * 255 >= max(len(head.unique()) for head in module.kept(kept_of).flatten(0, 1))


def test_an_expert_takes_no_more_than_its_seats_and_the_rest_pass_by():
    tight = made("BP036", capacity=1.0)
    assert isinstance(tight, MixtureOfExperts)
    with torch.no_grad():
        # Every position wants the same two experts, more than there are seats.
        tight.router.score.weight.zero_()
        tight.router.score.weight[0] += 5.0
        tight.router.score.weight[1] += 4.0
        # The second one has nothing to say, so that what the first does not take is seen.
        tight.experts.down[1].zero_()
    features = inputs(SEQUENCE).abs() + 0.1
    passed_by = (tight(features) == 0.0).all(-1).sum(1)
    assert tight.seats == 6
    assert bool((passed_by == 12 - 6).all())


def _busiest(module: nn.Module, features: Tensor) -> float:
    """The share of choices that go to the busiest expert, after some training passes."""
    for _ in range(300):
        module(features)
    load = dict(module.named_buffers())["load.running_mean"]
    return float(load.max() / load.sum())


def test_scoring_busy_experts_down_flattens_the_load():
    features = inputs(SEQUENCE, 16)
    shares = dict[float, float]()
    for strength in (0.0, 1.0):
        module = build("BP-LOAD-BAL-EMA", {"beta": strength, "decay": 0.9}, SEQUENCE, 9)
        with torch.no_grad():
            # All positions are alike, so that without a balance two experts get everything.
            features_alike = features[:1, :1].expand_as(features)
            shares[strength] = _busiest(module, features_alike)
    assert shares[0.0] == pytest.approx(0.5)
    assert shares[1.0] < 0.45


def _router_gradient(weight: float) -> Tensor:
    """The gradient at birth, when the experts answer nothing and no other reaches the router."""
    module = build("BP-ROUTER-MOE-AUXLOSS", {"weight": weight}, SEQUENCE, 4)
    module(inputs(SEQUENCE)).sum().backward()
    return next(own.grad.clone() for own in module.parameters() if own.grad is not None)


def test_a_balancing_loss_reaches_the_router_in_proportion_to_its_weight():
    least, most = (_router_gradient(weight) for weight in (0.001, 0.1))
    assert float(least.norm()) > 0.0
    assert torch.allclose(most, least * 100.0, rtol=1e-4)


def test_running_statistics_are_part_of_what_is_saved():
    for blueprint_id in ("BP006", "BP-LOAD-BAL-EMA", "BP-MON-ACT-STATS"):
        module, fresh = made(blueprint_id), build(blueprint_id, {}, SEQUENCE, 1)
        module(inputs(SEQUENCE, 8))
        fresh.load_state_dict(module.state_dict())
        ours, theirs = dict(module.named_buffers()), dict(fresh.named_buffers())
        assert ours
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_fast_weights_adapt_without_autograd():
    slow, quick = made("BP041", adapt_steps=1), made("BP041", adapt_steps=5)
    with torch.no_grad():
        assert not torch.equal(slow(inputs(SEQUENCE)), quick(inputs(SEQUENCE)))


def _rank(rank: int, port: int, answers: "mp.SimpleQueue[Mapping[str, list[float]]]") -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    module = build("BP-ALL-REDUCE-SHARD", {}, SEQUENCE, rank)
    leave_birth(module)
    features = inputs(SEQUENCE).requires_grad_()
    output = module(features)
    (output * float(rank + 1)).sum().backward()
    dist.destroy_process_group()
    alone = module(features.detach())
    assert features.grad is not None
    answers.put({"rank": [rank], "output": output.flatten().tolist(), "alone": alone.flatten().tolist()})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="two processes that speak gloo are tried on Linux")
def test_two_processes_hear_the_mean_of_both():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.get_context("spawn")
    answers = context.SimpleQueue()
    ranks = [context.Process(target=_rank, args=(rank, port, answers)) for rank in range(2)]
    for process in ranks:
        process.start()
    told = [answers.get() for _ in ranks]
    for process in ranks:
        process.join()
    mean = torch.tensor([each["alone"] for each in told]).mean(0)
    for each in told:
        assert torch.allclose(torch.tensor(each["output"]), mean, atol=1e-5)
