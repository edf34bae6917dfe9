"""The log's files are walked frame by frame before a server touches them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eventstore.errors import LogCorrupt
from ops.cli.blocks import BLOCKS, FRAME, HAS_HEADERS, check_frames

Damaged = Callable[[bytes], Path]


@pytest.fixture
def frames(told: Path) -> bytes:
    """The bytes of the told log's only block."""
    (block,) = (told / "nats").glob(BLOCKS)
    return block.read_bytes()


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """Lay out a store whose only block holds the given bytes."""

    def lay_out(data: bytes) -> Path:
        block = tmp_path / BLOCKS.replace("*.blk", "1.blk").replace("*", "$G")
        block.parent.mkdir(parents=True, exist_ok=True)
        block.write_bytes(data)
        return tmp_path

    return lay_out


def _starts(data: bytes) -> list[int]:
    starts = [0]
    while (end := starts[-1] + (FRAME.unpack_from(data, starts[-1])[0] & ~HAS_HEADERS)) < len(data):
        starts.append(end)
    return starts


def test_a_sound_block_is_counted(frames: bytes, damaged: Damaged) -> None:
    assert check_frames(damaged(frames)) == len(frames)


@pytest.mark.parametrize("bit", [1, 32, 128])
@pytest.mark.parametrize("byte", [*range(12), 22, 31])
def test_a_bit_flipped_in_a_frame_is_found_at_that_frame(frames: bytes, damaged: Damaged, byte: int, bit: int) -> None:
    for position, start in enumerate(_starts(frames)[:-1], start=1):
        data = bytearray(frames)
        data[start + byte] ^= bit
        with pytest.raises(LogCorrupt) as met:
            check_frames(damaged(data))
        assert met.value.position == position


@pytest.mark.parametrize("kept", [5, 40, 200])
def test_a_last_write_that_was_cut_short_is_left_to_the_server(frames: bytes, damaged: Damaged, kept: int) -> None:
    assert check_frames(damaged(frames[: _starts(frames)[-1] + kept])) > 0


def test_a_missing_frame_is_found_at_its_position(frames: bytes, damaged: Damaged) -> None:
    starts = _starts(frames)
    with pytest.raises(LogCorrupt) as met:
        check_frames(damaged(frames[: starts[6]] + frames[starts[7] :]))
    assert met.value.position == 7
