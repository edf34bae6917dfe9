"""Whatever bytes a log may hold, reading them ends: with what was signed, or with an error that says what is wrong."""

import random
from collections.abc import Iterator

import pytest

from eventstore.commands import CommandCodec
from eventstore.commit import START, CommitCodec, Link, link_after
from eventstore.errors import CommandInvalid, LogCorrupt, UnknownEventType
from eventstore.signing import Keys
from eventstore.v1.commit_pb2 import Commit, SignedCommit
from tests.eventstore.vocabulary import SEED, TYPES, command, context, said

CODEC = CommitCodec(Keys("k"), TYPES)
FORGER = CommitCodec(Keys("forger"), TYPES)


def chained() -> list[tuple[bytes, Link]]:
    """Return sealed commits of several sizes, each with the link it follows."""
    link, sealed = START, list[tuple[bytes, Link]]()
    for number, words in enumerate((["a"], ["b", "c", "d"], ["x" * 300], ["" for _ in range(12)])):
        data = CODEC.seal(SEED, said(*words), context(f"{number:032x}"), link)
        sealed.append((data, link))
        link = link_after(data, CODEC.unseal(data, number + 1, SEED, link))
    return sealed


SEALED = chained()


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return *data* after one to four accidents: bits, bytes, runs and lengths, or a part of another commit."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1) if out else 0
        match dice.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << dice.randrange(8)
            case 1:
                del out[at : at + dice.randint(1, 40)]
            case 2:
                out[at:at] = dice.randbytes(dice.randint(1, 40))
            case 3:
                out[at : at + 8] = dice.randbytes(8)
            case 4:
                out[at:at] = out[: dice.randint(1, 60)]
            case _:
                other = dice.choice(SEALED)[0]
                start = dice.randrange(len(other))
                out[at : at + 50] = other[start : start + 50]
    return bytes(out)


def resigned(data: bytes, dice: random.Random) -> bytes:
    """Return *data* with its commit mutated and signed again by somebody who has another key."""
    body = mutated(SignedCommit.FromString(data).commit, dice)
    return SignedCommit(commit=body, key_id=CODEC.keys.current_id, signature=FORGER.keys.sign(body)).SerializeToString()


def accepted(rounds: int, seed: int) -> Iterator[tuple[bytes, bytes, Link]]:
    """Yield (original, mutation, link) for every mutation that was taken for genuine."""
    dice = random.Random(seed)
    for number in range(rounds):
        data, link = dice.choice(SEALED)
        fuzzed = resigned(data, dice) if number % 5 == 0 else mutated(data, dice)
        try:
            CODEC.unseal(fuzzed, 1, SEED, link)
        except (LogCorrupt, UnknownEventType):
            continue
        yield data, fuzzed, link


def assert_no_false_accept(rounds: int, seed: int) -> None:
    """A message may be wrapped otherwise than it was, but only around a commit as it was signed."""
    for _, fuzzed, link in accepted(rounds, seed):
        genuine = [SignedCommit.FromString(data).commit for data, after in SEALED if after == link]
        assert SignedCommit.FromString(fuzzed).commit in genuine


@pytest.mark.parametrize("seed", [1, 2])
def test_no_mutated_commit_is_taken_for_genuine(seed: int):
    assert_no_false_accept(2_500, seed)


@pytest.mark.slow
def test_no_mutated_commit_of_a_million_is_taken_for_genuine():
    assert_no_false_accept(1_000_000, 3)


def test_a_mutated_commit_that_the_key_itself_signed_never_crashes_the_reader():
    dice = random.Random(4)
    outcomes: set[str] = set()
    for _ in range(2_500):
        data, link = dice.choice(SEALED)
        body = mutated(SignedCommit.FromString(data).commit, dice)
        signed = SignedCommit(commit=body, key_id=CODEC.keys.current_id, signature=CODEC.keys.sign(body))
        try:
            events = CODEC.unseal(signed.SerializeToString(), 1, SEED, link)
        except (LogCorrupt, UnknownEventType) as error:
            outcomes.add(type(error).__name__)
        else:
            outcomes.add("read")
            assert [event.event_id for event in events] == [event.event_id for event in Commit.FromString(body).events]
    assert outcomes == {"LogCorrupt", "UnknownEventType", "read"}


def test_no_mutated_command_is_taken_for_genuine():
    codec, dice = CommandCodec(Keys("k"), TYPES), random.Random(5)
    given = command(issued_as="c" * 32)
    sealed = codec.seal(given)
    for _ in range(2_500):
        try:
            assert codec.unseal(mutated(sealed, dice), "tezzeret") == given
        except CommandInvalid:
            continue
