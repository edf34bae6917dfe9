"""Old payloads reach readers in the newest shape, whatever they were called and however often they changed."""

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue

from eventstore.commit import START, CommitCodec
from eventstore.errors import LogCorrupt, UnknownEventType
from eventstore.memory import MemoryStore
from eventstore.signing import Keys
from eventstore.upcasting import Written, newest
from eventstore.vocabulary import Vocabulary
from tests.eventstore.vocabulary import SEED, context

TEXT, NUMBER = StringValue.DESCRIPTOR.full_name, Int64Value.DESCRIPTOR.full_name
KEYS = Keys("k")


def second_text(payload: bytes) -> Written:
    """Version 2 of the text is shouted."""
    was = StringValue.FromString(payload)
    return Written(TEXT, 2, StringValue(value=was.value.upper()).SerializeToString())


def number_of_text(payload: bytes) -> Written:
    """Then the text became a number of letters."""
    return Written(NUMBER, 1, Int64Value(value=len(StringValue.FromString(payload).value)).SerializeToString())


FIRST = Vocabulary({StringValue: 1})
SECOND = Vocabulary({StringValue: 2}, {(TEXT, 1): second_text})
THIRD = Vocabulary({Int64Value: 1}, {(TEXT, 1): second_text, (TEXT, 2): number_of_text})


def reread(written: Vocabulary, reader: Vocabulary, word: str = "abc"):
    data = CommitCodec(KEYS, written).seal(SEED, [StringValue(value=word)], context(), START)
    return CommitCodec(KEYS, reader).unseal(data, 7, SEED, START)[0]


def test_what_is_newest_is_left_as_it_is():
    assert reread(FIRST, FIRST).event == StringValue(value="abc")


def test_an_old_version_is_brought_to_the_newest():
    recorded = reread(FIRST, SECOND)
    assert (recorded.event, recorded.event_type) == (StringValue(value="ABC"), TEXT)


def test_steps_follow_each_other_and_may_lead_to_another_type():
    recorded = reread(FIRST, THIRD)
    assert (recorded.event, recorded.event_type) == (Int64Value(value=3), NUMBER)
    assert reread(SECOND, THIRD).event == Int64Value(value=3)


def test_an_event_from_the_future_is_an_error_with_its_position_and_version():
    with pytest.raises(UnknownEventType) as refusal:
        reread(SECOND, FIRST)
    assert (refusal.value.position, refusal.value.event_type, refusal.value.schema_version) == (7, TEXT, 2)


def test_an_old_version_that_nothing_leads_on_from_is_an_error():
    with pytest.raises(UnknownEventType):
        reread(FIRST, Vocabulary({StringValue: 3}, {(TEXT, 1): second_text}))


def test_an_old_payload_that_its_step_cannot_read_is_damage():
    def step(payload: bytes) -> Written:
        raise DecodeError("truncated")

    with pytest.raises(LogCorrupt, match="form"):
        reread(FIRST, Vocabulary({StringValue: 2}, {(TEXT, 1): step}))


def test_steps_that_go_round_in_a_circle_are_a_mistake():
    round_and_round = Vocabulary({}, {(TEXT, 1): lambda payload: Written(TEXT, 1, payload)})
    with pytest.raises(ValueError, match="never come to an end"):
        newest(round_and_round, Written(TEXT, 1, b""))


def test_a_step_from_the_newest_version_is_a_mistake():
    with pytest.raises(ValueError, match="newest versions"):
        Vocabulary({StringValue: 1}, {(TEXT, 1): second_text})


async def test_a_stream_goes_on_in_the_new_shape_after_its_old_events():
    store = MemoryStore(Vocabulary({StringValue: 1, BytesValue: 1}), KEYS)
    await store.append(SEED, [StringValue(value="a"), BytesValue(value=b"b")], expected=0, context=context())
    [stored] = [stored async for stored in store.read_stored()]
    reader = CommitCodec(KEYS, Vocabulary({StringValue: 2, BytesValue: 1}, {(TEXT, 1): second_text}))
    events = reader.unseal(stored.data, 1, SEED, START)
    assert [event.event.value for event in events] == ["A", b"b"]
