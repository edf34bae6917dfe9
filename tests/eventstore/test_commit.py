"""A stored commit is what was decided, or reading it fails and says where."""

from uuid import UUID, uuid5

import pytest

from eventstore.commit import NAMESPACE, START, Chains, CommitCodec, Link, commit_id, event_id, link_after
from eventstore.errors import EventStoreError, LogCorrupt, UnknownEventType
from eventstore.signing import Keys
from tests.eventstore.vocabulary import FEWER_TYPES, OTHER, SEED, TYPES, context, said, words

CODEC = CommitCodec(Keys("k"), TYPES)
GIVEN = context("a" * 32)
SEALED = CODEC.seal(SEED, said("a", "b"), GIVEN, START)


def refused(data: bytes, *, stream=SEED, after: Link | None = START, codec: CommitCodec = CODEC) -> LogCorrupt:
    with pytest.raises(LogCorrupt) as refusal:
        codec.unseal(data, 7, stream, after)
    assert refusal.value.position == 7
    return refusal.value


def test_a_sealed_commit_comes_back():
    assert words(CODEC.unseal(SEALED, 7, SEED, START)) == ["a", "b"]


def test_the_same_decision_has_the_same_bytes():
    assert CODEC.seal(SEED, said("a", "b"), GIVEN, START) == SEALED


def test_every_flipped_byte_is_noticed():
    for index in range(len(SEALED)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            damaged = bytearray(SEALED)
            damaged[index] ^= mask
            refused(bytes(damaged))


def test_every_truncation_is_noticed():
    for length in range(len(SEALED)):
        refused(SEALED[:length])


def test_anything_appended_is_noticed_by_the_next_link():
    longer = SEALED + b"\x22\x00"
    events = CODEC.unseal(SEALED, 1, SEED, START)
    following = CODEC.seal(SEED, said("c"), context(), link_after(SEALED, events))
    assert refused(following, after=link_after(longer, events)).kind == "previous hash"


def test_a_commit_on_another_subject_is_refused():
    assert refused(SEALED, stream=OTHER).kind == "stream"


def test_another_key_is_refused_by_name():
    refusal = refused(SEALED, codec=CommitCodec(Keys("other"), TYPES))
    assert refusal.kind == "signing key"
    assert CODEC.keys.current_id in refusal.found


def test_a_retired_key_still_verifies():
    assert words(CommitCodec(Keys("new", "k"), TYPES).unseal(SEALED, 1, SEED, START)) == ["a", "b"]


@pytest.mark.parametrize(
    ("after", "kind"),
    [(Link(1, b"h" * 32), "first version"), (Link(0, b"h" * 32), "previous hash")],
)
def test_a_broken_link_is_refused(after: Link, kind: str):
    assert refused(SEALED, after=after).kind == kind


def test_a_removed_commit_breaks_the_chain():
    first = CODEC.unseal(SEALED, 1, SEED, START)
    second = CODEC.seal(SEED, said("c"), context(), link_after(SEALED, first))
    third = CODEC.seal(SEED, said("d"), context(), link_after(second, CODEC.unseal(second, 2, SEED, None)))
    assert refused(third, after=link_after(SEALED, first)).kind == "first version"


def test_an_unknown_type_is_an_error_and_not_skipped():
    with pytest.raises(UnknownEventType) as refusal:
        CommitCodec(Keys("k"), FEWER_TYPES).unseal(SEALED, 7, SEED, START)
    assert (refusal.value.position, refusal.value.event_type) == (7, "google.protobuf.StringValue")


def test_a_reader_that_began_later_takes_its_first_link_as_given_and_checks_the_next():
    first = CODEC.unseal(SEALED, 1, SEED, START)
    second = CODEC.seal(SEED, said("c"), context(), link_after(SEALED, first))
    chains = Chains(from_start=False)
    assert words(CODEC.read(second, 2, SEED, chains)) == ["c"]
    with pytest.raises(EventStoreError):
        CODEC.read(second, 3, SEED, chains)


def test_ids_are_uuids_derived_from_names():
    this = commit_id(SEED, GIVEN.command_id)
    assert this == uuid5(NAMESPACE, f"seed.r1-s0|{GIVEN.command_id}").hex
    assert event_id(this, 3) == uuid5(UUID(this), "3").hex
