"""What a killed compiler left behind is not believed."""

import os
from pathlib import Path

import pytest

from esper.tezzeret.cache import CompilerCache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "whole.so").write_bytes(b"whole")
    os.utime(tmp_path / "ab" / "whole.so", (1.0, 1.0))
    return tmp_path


def written_since(folder: Path) -> CompilerCache:
    cache = CompilerCache(folder)
    cache.begin()
    (folder / "ab" / "half.so").write_bytes(b"ha")
    return cache


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_what_was_written_by_one_that_did_not_end_well_is_discarded(folder: Path):
    written_since(folder).discard()
    assert names(folder) == {"whole.so"}


def test_so_it_is_by_the_next_process(folder: Path):
    written_since(folder)
    CompilerCache(folder).discard()
    assert names(folder) == {"whole.so"}


def test_what_was_written_by_one_that_ended_well_is_kept(folder: Path):
    cache = written_since(folder)
    cache.keep()
    cache.discard()
    assert names(folder) == {"whole.so", "half.so"}
