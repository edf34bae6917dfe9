"""The order of the data is saved and taken up again."""

import subprocess
import sys
from itertools import islice

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import esper
from esper.tolaria.encoding import decode, encode

DATA = TensorDataset(torch.arange(10))


def epochs(sampler: esper.ResumableSampler, count: int) -> list[list[int]]:
    return [list(sampler) for _ in range(count)]


def test_each_epoch_draws_everything_once_in_an_order_of_its_own():
    first, second = epochs(esper.ResumableSampler(DATA, seed=3), 2)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert epochs(esper.ResumableSampler(DATA, seed=3), 1) == [first]
    assert epochs(esper.ResumableSampler(DATA, seed=4), 1) != [first]


def test_the_order_does_not_depend_on_what_else_draws_random_numbers():
    sampler = esper.ResumableSampler(DATA)
    list(sampler)
    state = torch.get_rng_state()
    second = list(sampler)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    assert epochs(esper.ResumableSampler(DATA), 2)[1] == second


def test_the_order_is_the_same_in_another_process():
    program = "import esper; print(list(esper.ResumableSampler(range(10), seed=3)))"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == str(list(esper.ResumableSampler(range(10), seed=3)))


@pytest.mark.parametrize("drawn", [0, 4, 10])
def test_a_fresh_sampler_goes_on_from_a_saved_state(drawn: int):
    whole = epochs(esper.ResumableSampler(DATA, seed=3), 3)
    sampler = esper.ResumableSampler(DATA, seed=3)
    list(sampler)
    begun = list(islice(sampler, drawn))
    again = esper.ResumableSampler(DATA, seed=3)
    again.load_state_dict(decode(encode(sampler.state_dict())))
    assert len(again) == 10 - drawn
    rest = list(again)
    assert begun + rest == whole[1]
    assert list(again) == whole[2]


def test_a_loader_draws_its_batches_from_it():
    sampler = esper.ResumableSampler(DATA, seed=3)
    loader = DataLoader(DATA, batch_size=4, sampler=sampler, drop_last=True)
    first = [batch.tolist() for (batch,) in loader]
    assert [len(batch) for batch in first] == [4, 4]
    assert sampler.state_dict() == {"seed": 3, "length": 10, "epoch": 1, "drawn": 0}


def test_it_can_leave_the_order_as_it_is():
    assert epochs(esper.ResumableSampler(range(3), shuffle=False), 2) == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(("other", "what"), [((range(9), 0), "length was 10"), ((range(10), 1), "seed was 0")])
def test_the_state_of_another_order_is_refused(other: tuple[range, int], what: str):
    state = esper.ResumableSampler(range(10)).state_dict()
    with pytest.raises(ValueError, match=what):
        esper.ResumableSampler(other[0], seed=other[1]).load_state_dict(state)
