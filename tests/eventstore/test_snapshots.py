"""A snapshot saves time and changes nothing."""

from pathlib import Path

import msgspec
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from eventstore.memory import MemoryStore
from eventstore.signing import Keys
from eventstore.snapshot import Folding, Snapshots
from eventstore.states import StateUnreadable, decode, encode, kinds_of
from eventstore.store import EventStore
from tests.eventstore.vocabulary import OTHER, SEED, TYPES, context, said


class Note(msgspec.Struct, frozen=True):
    text: str


class Board(msgspec.Struct, frozen=True):
    """Something of everything that a state may hold."""

    last: StringValue | None = None
    notes: tuple[Note, ...] = ()
    counts: dict[tuple[str, str], int] = {}
    seen: frozenset[str] = frozenset()
    number: float | None = None


FOLDING: Folding[Board] = Folding("board", "v1", kinds_of(Board))
FULL = Board(StringValue(value="a"), (Note("b"),), {("c", "d"): 2}, frozenset({"e"}), 0.1)


def kept_in(folder: Path) -> Path:
    [path] = folder.rglob("*.snapshot")
    return path


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path, Keys("k"))


@pytest.fixture
async def store() -> EventStore:
    store = MemoryStore(TYPES, Keys("k"))
    for number in range(3):
        await store.append(SEED, said(str(number)), expected=number, context=context())
    return store


def test_a_state_of_structs_messages_and_containers_comes_back_equal():
    assert decode(encode(FULL), FOLDING.kinds) == FULL


def test_a_state_with_classes_that_nobody_expects_is_refused():
    with pytest.raises(StateUnreadable):
        decode(encode(Int64Value(value=1)), FOLDING.kinds)
    with pytest.raises(TypeError):
        encode(object())


async def test_what_was_kept_is_loaded_with_its_mark(store: EventStore, snapshots: Snapshots):
    assert await snapshots.keep(store, SEED, FOLDING, FULL, 2)
    loaded = await snapshots.load(store, SEED, FOLDING)
    assert loaded is not None
    assert (loaded.state, loaded.mark.version) == (FULL, 2)


async def test_a_state_at_no_commits_end_is_not_kept(store: EventStore, snapshots: Snapshots):
    assert not await snapshots.keep(store, SEED, FOLDING, FULL, 9)
    assert await snapshots.load(store, SEED, FOLDING) is None


async def test_a_snapshot_of_another_stream_folding_or_schema_is_none(store: EventStore, snapshots: Snapshots):
    await snapshots.keep(store, SEED, FOLDING, FULL, 2)
    assert await snapshots.load(store, OTHER, FOLDING) is None
    assert await snapshots.load(store, SEED, msgspec.structs.replace(FOLDING, schema="v2")) is None
    assert await snapshots.load(store, SEED, msgspec.structs.replace(FOLDING, name="shelf")) is None


async def test_a_snapshot_of_another_history_is_none(store: EventStore, snapshots: Snapshots):
    await snapshots.keep(store, SEED, FOLDING, FULL, 2)
    other = MemoryStore(TYPES, Keys("k"))
    for number in range(3):
        await other.append(SEED, said(f"other {number}"), expected=number, context=context())
    assert await snapshots.load(other, SEED, FOLDING) is None


async def test_a_snapshot_that_was_changed_on_disk_is_none(store: EventStore, snapshots: Snapshots, tmp_path: Path):
    await snapshots.keep(store, SEED, FOLDING, FULL, 2)
    path = kept_in(tmp_path)
    whole = path.read_bytes()
    for index in range(0, len(whole), 7):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 0x10]) + whole[index + 1 :])
        assert await snapshots.load(store, SEED, FOLDING) is None
    path.write_bytes(whole[:-1])
    assert await snapshots.load(store, SEED, FOLDING) is None


async def test_a_snapshot_signed_by_a_stranger_is_none(store: EventStore, snapshots: Snapshots, tmp_path: Path):
    await Snapshots(tmp_path, Keys("stranger")).keep(store, SEED, FOLDING, FULL, 2)
    assert await snapshots.load(store, SEED, FOLDING) is None


async def test_all_snapshots_can_be_deleted(store: EventStore, snapshots: Snapshots):
    await snapshots.keep(store, SEED, FOLDING, FULL, 2)
    snapshots.clear()
    snapshots.clear()
    assert await snapshots.load(store, SEED, FOLDING) is None
