"""What was recorded under a released schema is still read, folded and projected as it was."""

import json
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message_factory import GetMessageClass

from actors.verification import Verified, verify_run
from esper.leyline.registry import EVENTS
from eventstore.archive import Archive
from eventstore.blobs import FolderBlobs
from eventstore.importing import Importer
from eventstore.memory import MemoryStore
from eventstore.signing import Keys
from tests.architecture.recorded_histories import KEYS, beside, folded, histories, read

each_history = pytest.mark.parametrize("path", histories(), ids=lambda path: f"{path.parent.name}/{path.stem}")


def test_there_is_a_history_of_the_first_release():
    assert {path.parent.name for path in histories()} >= {"0.1.0"}


@each_history
def test_a_history_verifies_offline(path: Path):
    examined, commits = read(path)
    assert examined.checked.fault is None
    assert examined.signed
    assert examined.checked.commits == len(commits) > 100


@each_history
def test_a_history_folds_to_what_it_came_to_when_it_was_recorded(path: Path):
    assert folded(read(path)[1]) == json.loads(beside(path).read_text())


@each_history
async def test_a_history_replays_in_another_log(path: Path, tmp_path: Path):
    store, archive = MemoryStore(EVENTS), Archive(path)
    importer = Importer(
        store, FolderBlobs(tmp_path), Keys("k", "esper histories are signed with a published key"), EVENTS
    )
    await importer.bring(archive, now_ns=1)
    verified = await verify_run(store, archive.header.subject.removeprefix("run "))
    assert isinstance(verified, Verified)
    assert verified.gates > 0


@each_history
def test_a_history_can_be_read_without_this_program(path: Path):
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(Archive(path).header.descriptor_set).file:
        pool.Add(file)
    for stored in read(path)[1]:
        for recorded in stored.events:
            kind = GetMessageClass(pool.FindMessageTypeByName(recorded.event_type))
            payload = recorded.event.SerializeToString(deterministic=True)
            assert kind.FromString(payload).SerializeToString(deterministic=True) == payload


@each_history
def test_a_history_holds_no_secret(path: Path):
    assert b"published key" not in path.read_bytes()
    assert KEYS.current_id in Archive(path).header.key_ids
