"""Verified kernels at hand: bounded in bytes and number, those in use stay, the least recently used go first."""

from collections.abc import Callable

import msgspec
import pytest

from esper.urza.bundle import OpenedBundle
from esper.urza.cache import KernelCache
from esper.urza.errors import BundleRefused
from tests.urza.shelf import Shelf


@pytest.fixture(scope="module")
def bundle() -> OpenedBundle:
    return Shelf().open()


class Reader:
    """Reads kernels of 100 bytes, and counts how often."""

    def __init__(self, bundle: OpenedBundle) -> None:
        self.read, self._bundle = list[str](), bundle

    def __call__(self, kernel_id: str) -> Callable[[], OpenedBundle]:
        def read() -> OpenedBundle:
            self.read.append(kernel_id)
            return msgspec.structs.replace(self._bundle, kernel_id=kernel_id, bytes=100)

        return read


def cache_of(limit_bytes: int = 300, limit_count: int = 10, unused: int = 1, attached: str = "") -> KernelCache:
    return KernelCache(limit_bytes, limit_count, unused, lambda: set(attached))


def filled(cache: KernelCache, bundle: OpenedBundle, kernel_ids: str) -> Reader:
    reader = Reader(bundle)
    for kernel_id in kernel_ids:
        assert cache.open(kernel_id, reader(kernel_id)).kernel_id == kernel_id
    return reader


def test_what_is_at_hand_is_not_read_again(bundle: OpenedBundle):
    cache = cache_of()
    assert filled(cache, bundle, "aabba").read == ["a", "b"]
    assert (cache.hits, cache.misses, cache.bytes) == (3, 2, 200)


def test_the_least_recently_used_goes_first(bundle: OpenedBundle):
    cache = cache_of()
    filled(cache, bundle, "abcad")
    assert cache.kernel_ids == ("c", "a", "d")
    assert cache.evictions() == [(("b",), 100, "capacity", 300)]
    assert cache.evictions() == []


def test_what_seeds_grow_from_stays_and_the_newest_is_not_kept_if_nothing_else_can_go(bundle: OpenedBundle):
    cache = cache_of(attached="abc")
    filled(cache, bundle, "abcd")
    assert cache.kernel_ids == ("a", "b", "c")
    assert cache.evictions() == []


def test_a_cache_without_room_reads_every_time(bundle: OpenedBundle):
    cache = cache_of(limit_count=0)
    assert filled(cache, bundle, "aa").read == ["a", "a"]
    assert (cache.kernel_ids, cache.evictions()) == ((), [])


def test_the_number_of_kernels_is_bounded_too(bundle: OpenedBundle):
    cache = cache_of(limit_count=2)
    filled(cache, bundle, "abc")
    assert cache.kernel_ids == ("b", "c")


def test_what_no_seed_has_used_for_long_goes_and_a_use_begins_the_count_anew(bundle: OpenedBundle):
    cache = cache_of(attached="a", unused=2)
    reader = filled(cache, bundle, "abc")
    for _ in range(2):
        cache.new_epoch()
    cache.open("b", reader("b"))
    cache.new_epoch()
    assert cache.kernel_ids == ("a", "b")
    assert cache.evictions() == [(("c",), 100, "unused", 200)]


def test_in_an_emergency_all_goes_but_what_seeds_grow_from(bundle: OpenedBundle):
    cache = cache_of(attached="b")
    filled(cache, bundle, "abc")
    assert cache.clean_up() == 200
    assert cache.kernel_ids == ("b",)
    assert cache.evictions() == [(("a", "c"), 200, "emergency", 100)]
    assert cache.clean_up() == 0
    assert cache.evictions() == []


def test_what_does_not_verify_is_not_kept():
    cache = cache_of()

    def damaged() -> OpenedBundle:
        raise BundleRefused("digest_mismatch", "a test damaged it")

    for _ in range(2):
        with pytest.raises(BundleRefused):
            cache.open("a", damaged)
    assert (cache.kernel_ids, cache.misses) == ((), 2)
