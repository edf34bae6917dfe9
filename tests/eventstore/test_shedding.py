"""What matters least is given up first, and nothing goes uncounted."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from eventstore.shedding import Message, SheddingQueue

LOW, NORMAL, HIGH, CRITICAL, EMERGENCY = 1, 2, 3, 4, 5


def message(name: str, priority: int) -> Message:
    return Message(name, b"", priority)


def filled(capacity: int, *messages: tuple[str, int]) -> SheddingQueue:
    queue = SheddingQueue(capacity)
    for name, priority in messages:
        queue.offer(message(name, priority))
    return queue


def names(messages: Iterable[Message]) -> str:
    return "".join(one.subject for one in messages)


def test_the_most_important_come_first_and_each_kind_in_its_order():
    queue = filled(9, ("a", LOW), ("b", HIGH), ("c", LOW), ("d", CRITICAL), ("e", HIGH))
    assert names(queue.take(9)) == "dbeac"


def test_a_full_queue_gives_up_the_oldest_of_the_least_important():
    queue = filled(3, ("a", LOW), ("b", LOW), ("c", HIGH), ("d", NORMAL))
    assert (names(queue.take(9)), queue.counts.shed) == ("cdb", {LOW: 1})


def test_a_newcomer_that_matters_less_than_all_that_wait_is_shed_itself():
    queue = filled(2, ("a", HIGH), ("b", HIGH))
    assert not queue.offer(message("c", NORMAL))
    assert (names(queue.take(9)), queue.counts.shed) == ("ab", {NORMAL: 1})


def test_an_emergency_is_taken_even_by_a_queue_full_of_emergencies():
    queue = filled(1, ("a", EMERGENCY), ("b", EMERGENCY))
    assert (names(queue.take(9)), queue.counts.shed) == ("ab", {})


def test_what_is_not_admitted_is_shed_but_never_an_emergency():
    queue = SheddingQueue(10)
    queue.admission = lambda priority, waiting: False
    assert not queue.offer(message("a", CRITICAL))
    assert queue.offer(message("b", EMERGENCY))
    assert queue.counts.shed == {CRITICAL: 1}


def test_what_is_given_back_is_first_again():
    queue = filled(3, ("a", LOW), ("b", LOW), ("c", LOW))
    taken = queue.take(2)
    queue.give_back(taken[1:])
    queue.settle(stored=1)
    assert (names(queue.take(9)), queue.counts.stored) == ("bc", 1)


@given(
    capacity=st.integers(1, 5),
    deeds=st.lists(st.one_of(st.integers(1, 5), st.sampled_from(["send", "fail", "return"])), max_size=60),
)
def test_every_message_is_in_exactly_one_count(capacity: int, deeds: list[int | str]):
    queue, offered = SheddingQueue(capacity), 0
    for deed in deeds:
        if isinstance(deed, int):
            offered += 1
            queue.offer(message("x", deed))
            continue
        taken = queue.take(2)
        if deed == "return":
            queue.give_back(taken)
        elif taken:
            queue.settle(stored=len(taken) if deed == "send" else 0, lost=0 if deed == "send" else len(taken))
    counts = queue.counts
    assert counts.offered == offered == counts.stored + counts.lost + counts.waiting + sum(counts.shed.values())
    assert len(queue.take(1000)) == counts.waiting
