"""Whole results as Arrow."""

from pathlib import Path

import pytest

from eventstore.projection.errors import ArrowMissing, FrameTooLarge, ProjectionsBroken, QueryRefused, QueryTimedOut
from eventstore.projection.file import open_file
from eventstore.projection.frames import frame, table
from eventstore.projection.query import DEFAULT_LIMITS, Limits, answer
from eventstore.projection.sink import Sink
from tests.projection.damage import damage


async def test_a_frame_holds_every_row_with_its_types(filled: Sink):
    found = frame(filled.connection, "select range as n, range % 2 = 0 as even from range(25000)", DEFAULT_LIMITS)
    rows = table(found.arrow)
    assert (rows.num_rows, [str(kind) for kind in rows.schema.types]) == (25000, ["int64", "bool"])
    assert rows.column("n").to_pylist() == list(range(25000))
    assert found.position == filled.checkpoint.position


async def test_a_frame_that_is_too_large_is_refused_and_never_cut(filled: Sink):
    with pytest.raises(FrameTooLarge, match="1 MiB"):
        frame(filled.connection, "select range from range(1000000)", Limits(frame_bytes=2**20))
    assert answer(filled.connection, "select 1").rows == [[1]]


async def test_a_frame_obeys_what_an_answer_obeys(filled: Sink):
    with pytest.raises(QueryRefused) as refusal:
        frame(filled.connection, "with d as (delete from events returning *) from d", DEFAULT_LIMITS)
    assert refusal.value.reason == "writes"
    with pytest.raises(QueryTimedOut):
        frame(filled.connection, "select count(*) from range(1000000) a, range(1000000) b", Limits(seconds=0.2))


async def test_without_pyarrow_the_error_says_what_to_install(filled: Sink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.ipc", None)
    with pytest.raises(ArrowMissing, match="esper-growth\\[notebook\\]"):
        frame(filled.connection, "select 1", DEFAULT_LIMITS)


async def test_a_damaged_file_is_told_from_a_bad_question(filled: Sink, path: Path):
    filled.close()
    damage(path)
    with open_file(path) as connection:
        with pytest.raises(ProjectionsBroken, match="--rebuild"):
            answer(connection, "select max(word) from many")
        with pytest.raises(QueryRefused):
            answer(connection, "select nothing from many")
