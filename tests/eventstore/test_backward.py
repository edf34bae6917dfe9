"""Read from its end, a damaged chain is noticed too."""

import pytest

from eventstore.backward import BackwardChains
from eventstore.commit import START, CommitCodec, Link, link_after
from eventstore.errors import LogCorrupt
from eventstore.signing import Keys
from eventstore.store import Recorded
from tests.eventstore.vocabulary import SEED, TYPES, context, said

CODEC = CommitCodec(Keys("k"), TYPES)


def sealed(word: str, after: Link, position: int) -> tuple[bytes, tuple[Recorded, ...]]:
    data = CODEC.seal(SEED, said(word), context(), after)
    return data, CODEC.unseal(data, position, SEED, after)


def test_a_commit_taken_out_of_the_middle_is_missed_by_the_one_after_it():
    first = sealed("a", START, 1)
    second = sealed("b", link_after(*first), 2)
    third = sealed("c", link_after(*second), 3)
    chains = BackwardChains()
    chains.check(3, *third)
    with pytest.raises(LogCorrupt) as refusal:
        chains.check(1, *first)
    assert (refusal.value.position, refusal.value.kind) == (3, "previous hash")


def test_another_commit_in_its_place_is_noticed():
    first, other = sealed("a", START, 1), sealed("a", START, 1)
    chains = BackwardChains()
    chains.check(2, *sealed("b", link_after(*first), 2))
    with pytest.raises(LogCorrupt, match="previous hash"):
        chains.check(1, *other)


def test_a_stream_whose_beginning_is_gone_is_noticed_at_the_logs_first_position():
    chains = BackwardChains()
    chains.check(2, *sealed("b", link_after(*sealed("a", START, 1)), 2))
    with pytest.raises(LogCorrupt, match="first version"):
        chains.check_complete()
