"""An archive says what it holds, and nothing in it can be changed unnoticed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from eventstore.archive import Archive, Exporter
from eventstore.blobs import FolderBlobs
from eventstore.errors import ArchiveBroken, ImportRefused
from eventstore.framing import FrameWriter, frames
from eventstore.importing import Importer, position_map
from eventstore.memory import MemoryStore
from eventstore.signing import Keys
from eventstore.store import EventStore, StreamName
from eventstore.v1.archive_pb2 import ArchiveFrame, LogImported
from tests.eventstore.vocabulary import FEWER_TYPES, OTHER, SEED, TYPES, context, said, words

KEYS = Keys("there")
THIRD = StreamName("kernel", "k1")


@pytest.fixture
async def there() -> EventStore:
    store = MemoryStore(TYPES, KEYS)
    for number in range(4):
        await store.append(SEED, said(f"seed {number}", "b"), expected=2 * number, context=context())
        await store.append(OTHER, said(f"other {number}"), expected=number, context=context())
    return store


@pytest.fixture
async def archive(there: EventStore, tmp_path: Path) -> Archive:
    exporter = Exporter(KEYS, TYPES, lambda: 7)
    await exporter.export(there, {SEED}, tmp_path / "seed.esper", "the seed")
    return Archive(tmp_path / "seed.esper")


def importer(store: EventStore, folder: Path, keys: Keys = KEYS) -> Importer:
    return Importer(store, FolderBlobs(folder / "blobs"), keys, TYPES)


def rewritten(archive: Archive, change: Callable[[int, ArchiveFrame], ArchiveFrame | None]) -> Archive:
    """Return a copy whose frames went through *change* and whose end fits them again, as a forger would write it."""
    path = archive.path.with_name("forged.esper")
    with path.open("wb") as file:
        writer = FrameWriter(file)
        for number, frame in enumerate(frames(archive.path)):
            if frame.HasField("end"):
                frame.end.sha256 = writer.sha256
            changed = change(number, frame)
            if changed is not None:
                writer.write(changed)
    return Archive(path)


def test_an_archive_holds_whole_streams_with_their_positions(archive: Archive):
    examined = archive.examine(KEYS, TYPES)
    assert (examined.signed, examined.subject, examined.checked.fault) == (True, "the seed", None)
    assert (examined.checked.commits, examined.checked.events, examined.checked.streams) == (4, 8, 1)
    assert examined.checked.last_position == 7


def test_without_the_key_everything_but_the_signatures_is_checked_and_it_says_so(archive: Archive):
    examined = archive.examine(Keys("elsewhere"), TYPES)
    assert (examined.signed, examined.checked.fault, examined.checked.commits) == (False, None, 4)


def passes(path: Path) -> bool:
    """Say whether the file is taken for a whole archive with every signature right."""
    try:
        examined = Archive(path).examine(KEYS, TYPES)
    except ArchiveBroken:
        return False
    return examined.signed and examined.checked.fault is None


def test_every_flipped_byte_of_an_archive_is_noticed(archive: Archive):
    whole = archive.path.read_bytes()
    assert passes(archive.path)
    for index in range(0, len(whole), 3):
        archive.path.write_bytes(whole[:index] + bytes([whole[index] ^ 0x04]) + whole[index + 1 :])
        assert not passes(archive.path)


def test_every_truncation_of_an_archive_is_noticed(archive: Archive):
    whole = archive.path.read_bytes()
    for length in range(0, len(whole), 7):
        archive.path.write_bytes(whole[:length])
        with pytest.raises(ArchiveBroken):
            Archive(archive.path).examine(KEYS, TYPES)


def test_a_commit_taken_out_with_a_new_end_breaks_the_chain(archive: Archive):
    forged = rewritten(archive, lambda number, frame: None if number == 2 else frame)
    fault = forged.examine(Keys("elsewhere"), TYPES).checked.fault
    assert fault is not None
    assert (fault.position, fault.kind) == (5, "first version")


def test_a_tail_taken_off_with_a_new_end_is_noticed_by_its_count_and_by_its_signature(archive: Archive):
    def without_the_last(number: int, frame: ArchiveFrame) -> ArchiveFrame | None:
        if frame.HasField("end"):
            frame.end.commits, frame.end.events = 3, 6
        return None if number == 4 else frame

    forged = rewritten(archive, without_the_last)
    with pytest.raises(ArchiveBroken, match="signature"):
        forged.examine(KEYS, TYPES)
    with pytest.raises(ArchiveBroken, match="commits"):
        rewritten(archive, lambda number, frame: None if number == 4 else frame).examine(KEYS, TYPES)


def test_a_type_that_this_program_does_not_know_is_a_fault_at_its_position(archive: Archive):
    fault = archive.examine(KEYS, FEWER_TYPES).checked.fault
    assert fault is not None
    assert (fault.position, fault.kind, fault.found) == (1, "type", "google.protobuf.StringValue v1")


def test_an_archive_of_a_later_format_is_refused_by_name(archive: Archive):
    def later(number: int, frame: ArchiveFrame) -> ArchiveFrame:
        frame.header.format_version = 2 if number == 0 else frame.header.format_version
        return frame

    with pytest.raises(ArchiveBroken, match="format 2"):
        rewritten(archive, lambda number, frame: later(number, frame) if number == 0 else frame)


def test_something_else_is_no_archive(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(ArchiveBroken, match="does not begin as one"):
        Archive(tmp_path / "x")


async def test_an_import_keeps_every_id_and_records_where_it_came_from(
    there: EventStore, archive: Archive, tmp_path: Path
):
    here = MemoryStore(TYPES, Keys("here", "there"))
    await here.append(THIRD, said("mine"), expected=0, context=context())
    imported = await importer(here, tmp_path, Keys("here", "there")).bring(archive, now_ns=9)
    original, copy = await there.read_stream(SEED), await here.read_stream(SEED)
    assert [(one.event_id, one.version, one.event, one.context) for one in copy] == [
        (one.event_id, one.version, one.event, one.context) for one in original
    ]
    [record] = await here.read_stream(StreamName("import", archive.sha256()))
    assert isinstance(record.event, LogImported)
    assert (record.position, record.event.commits, record.event.signatures_verified) == (imported.position, 4, True)
    blobs = FolderBlobs(tmp_path / "blobs")
    assert blobs.get(record.event.archive_sha256) == archive.path.read_bytes()
    assert blobs.get(record.event.position_map_sha256) == b"[[1,2,1],[3,3,1],[5,4,1],[7,5,1]]"


async def test_importing_again_writes_nothing(archive: Archive, tmp_path: Path):
    here = MemoryStore(TYPES, Keys("here", "there"))
    bring = importer(here, tmp_path, Keys("here", "there")).bring
    first, again = await bring(archive, now_ns=1), await bring(archive, now_ns=2)
    assert (first.written, again.written, again.position) == (4, 0, first.position)
    assert (await here.identity()).last_position == 5


async def test_what_nobody_here_can_vouch_for_is_taken_only_when_asked_to(archive: Archive, tmp_path: Path):
    here = MemoryStore(TYPES, Keys("here"))
    strict = importer(here, tmp_path, Keys("here"))
    with pytest.raises(ImportRefused, match="keys that signed it"):
        await strict.bring(archive, now_ns=1)
    assert (await here.identity()).last_position == 0
    imported = await strict.bring(archive, now_ns=1, accept_unsigned=True)
    assert (imported.written, imported.signatures_verified) == (4, False)


async def test_a_stream_with_another_history_is_not_mixed_with(archive: Archive, tmp_path: Path):
    here = MemoryStore(TYPES, KEYS)
    await here.append(SEED, said("mine"), expected=0, context=context())
    with pytest.raises(ImportRefused, match="another history"):
        await importer(here, tmp_path).bring(archive, now_ns=1)
    assert words(list(await here.read_stream(SEED))) == ["mine"]


async def test_an_export_that_fails_leaves_nothing_behind(there: EventStore, tmp_path: Path):
    (tmp_path / "before.esper").write_bytes(b"older")
    with pytest.raises(OSError, match="before"):
        await Exporter(KEYS, TYPES, lambda: 7).export(there, {SEED}, tmp_path / "missing" / "before.esper", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.esper"]  # noqa: ASYNC240


def test_positions_that_follow_each_other_are_one_run():
    assert position_map([(1, 5), (2, 6), (4, 7), (5, 8), (9, 8)]) == [(1, 5, 2), (4, 7, 2), (9, 8, 1)]


def test_the_descriptor_set_tells_what_the_payloads_are(archive: Archive):
    assert StringValue.DESCRIPTOR.file.name.encode() in archive.header.descriptor_set
    assert dict(archive.header.schema_versions) == {"google.protobuf.StringValue": 1}
