"""What was put into an outbox is there until it is acknowledged, whatever becomes of the process."""

import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.outbox import Outbox, OutboxFull, OutboxHeld, read_frames


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox" / "run.outbox"


def facts(outbox: Outbox) -> list[bytes]:
    return [letter.data for letter in outbox.waiting()]


def filled(file: Path, *data: bytes, limit_bytes: int = 1 << 20) -> Outbox:
    outbox = Outbox(file, limit_bytes)
    for each in data:
        outbox.put(each)
    return outbox


def test_what_waits_is_found_again_in_the_order_in_which_it_was_put(file: Path):
    filled(file, b"one", b"two", b"", b"four")
    again = Outbox(file)
    assert facts(again) == [b"one", b"two", b"", b"four"]
    assert again.depth == 4
    assert again.put(b"five") == 5


def test_what_was_acknowledged_is_not_offered_again(file: Path):
    outbox = filled(file, b"one", b"two", b"three")
    outbox.acknowledge(1)
    outbox.acknowledge(3)
    outbox.acknowledge(3)
    assert facts(Outbox(file)) == facts(outbox) == [b"two"]


def test_an_outbox_that_is_done_takes_no_room_and_leaves_no_file(file: Path):
    outbox = filled(file, b"one", b"two")
    outbox.acknowledge(1)
    outbox.acknowledge(2)
    assert file.stat().st_size == 0
    outbox.close()
    outbox.close()
    assert not file.exists()
    waiting = filled(file, b"three")
    waiting.close()
    assert facts(Outbox(file)) == [b"three"]


def test_a_full_outbox_refuses_by_name_and_keeps_what_it_has(file: Path):
    outbox = filled(file, b"x" * 60, limit_bytes=200)
    with pytest.raises(OutboxFull, match="no room"):
        outbox.put(b"x" * 60, keep_free=60)
    outbox.put(b"x" * 60)
    with pytest.raises(OutboxFull):
        outbox.put(b"x" * 60)
    assert facts(Outbox(file)) == [b"x" * 60] * 2


def test_a_last_resort_takes_the_place_of_the_one_before(file: Path):
    outbox = filled(file, b"x" * 60, limit_bytes=100)
    for count in range(1000):
        outbox.put_as_last_resort(b"lost %d" % count)
    assert facts(Outbox(file)) == [b"x" * 60, b"lost 999"]
    assert file.stat().st_size < 200
    again = Outbox(file, 100)
    again.put_as_last_resort(b"lost 1000")
    assert facts(again) == [b"x" * 60, b"lost 1000"]


def test_a_last_resort_does_not_replace_what_was_acknowledged_or_followed(file: Path):
    outbox = filled(file, b"x", limit_bytes=1000)
    outbox.put_as_last_resort(b"first")
    outbox.put(b"y")
    outbox.put_as_last_resort(b"second")
    assert facts(outbox) == [b"x", b"first", b"y", b"second"]
    outbox.acknowledge(4)
    outbox.put_as_last_resort(b"third")
    assert facts(Outbox(file)) == facts(outbox) == [b"x", b"first", b"y", b"third"]


@given(cut=st.integers(min_value=0, max_value=200), junk=st.binary(max_size=40))
def test_a_torn_end_costs_what_was_torn_and_nothing_before_it(cut: int, junk: bytes, tmp_path_factory):
    file = tmp_path_factory.mktemp("torn") / "run.outbox"
    filled(file, b"a" * 10, b"b" * 20, b"c" * 30).close()
    whole = file.read_bytes()
    file.write_bytes(whole[:cut] + junk)
    outbox = Outbox(file)
    kept = facts(outbox)
    assert kept == [b"a" * 10, b"b" * 20, b"c" * 30][: len(kept)]
    assert len(kept) == sum(cut >= end for end in (31, 72, 123))
    assert outbox.set_aside is None
    outbox.put(b"d")
    assert facts(Outbox(file)) == [*kept, b"d"]


@given(at=st.integers(min_value=0, max_value=71), bit=st.integers(min_value=0, max_value=7))
def test_damage_before_the_end_is_kept_for_inspection_and_never_believed(at: int, bit: int, tmp_path_factory):
    file = tmp_path_factory.mktemp("damaged") / "run.outbox"
    filled(file, b"a" * 10, b"b" * 20, b"c" * 30).close()
    damaged = bytearray(file.read_bytes())
    damaged[at] ^= 1 << bit
    file.write_bytes(damaged)
    outbox = Outbox(file)
    assert facts(outbox) == ([] if at < 31 else [b"a" * 10])
    assert outbox.set_aside is not None
    assert outbox.set_aside.read_bytes() == damaged


def test_a_nameless_outbox_is_as_good_while_the_process_lives(tmp_path: Path):
    outbox = filled(None, b"one", b"two")  # type: ignore[arg-type]
    outbox.acknowledge(1)
    assert facts(outbox) == [b"two"]
    outbox.close()


def test_two_threads_that_put_and_acknowledge_lose_nothing(file: Path):
    outbox = Outbox(file)
    done: list[bytes] = []

    def drain() -> None:
        while len(done) < 500:
            for letter in outbox.waiting():
                done.append(letter.data)
                outbox.acknowledge(letter.number)

    thread = Thread(target=drain)
    thread.start()
    for count in range(500):
        outbox.put(b"%d" % count)
    thread.join(30)
    assert done == [b"%d" % count for count in range(500)]
    assert outbox.depth == 0
    assert file.stat().st_size == 0


PUTS_UNTIL_IT_DIES = """
import itertools, sys
from pathlib import Path
from actors.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
for count in itertools.count():
    outbox.put(b"%d" % count + b"." * 5000)
    print(count, flush=True)
"""


def putting(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PUTS_UNTIL_IT_DIES, str(file)], stdout=subprocess.PIPE)


@pytest.mark.parametrize("kill_after", [1, 2, 7, 40, 150])
def test_what_was_put_outlives_a_process_that_is_killed(file: Path, kill_after: int):
    process = putting(file)
    assert process.stdout is not None
    last = -1
    while last < kill_after:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    promised = int(rest[-1]) if rest else last
    found = [int(data.rstrip(b".")) for data in facts(Outbox(file))]
    assert found == list(range(len(found)))
    assert len(found) in (promised + 1, promised + 2)


def test_a_run_that_another_process_trains_cannot_be_taken_over(file: Path):
    process = putting(file)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(OutboxHeld, match="another process"):
            Outbox(file)
    finally:
        process.kill()
        process.communicate()
    assert Outbox(file).depth > 0


def test_an_outbox_can_be_read_while_it_is_written(file: Path):
    filled(file, b"one", b"two")
    assert [letter.data for letter in read_frames(file.read_bytes()).waiting] == [b"one", b"two"]
    assert file.stat().st_mode & 0o077 == 0
