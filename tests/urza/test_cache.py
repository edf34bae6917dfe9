"""Verified kernels at hand: bounded in bytes and number, those in use stay, the least recently used go first."""

import msgspec
import pytest

from esper.urza.bundle import OpenedBundle
from esper.urza.cache import KernelCache
from tests.urza.shelf import Shelf


@pytest.fixture(scope="module")
def bundle() -> OpenedBundle:
    return Shelf().open()


def cache_of(limit_bytes: int = 300, limit_count: int = 10, unused: int = 1, attached: str = "") -> KernelCache:
    return KernelCache(limit_bytes, limit_count, unused, lambda: set(attached))


def filled(cache: KernelCache, bundle: OpenedBundle, kernel_ids: str) -> None:
    """Use kernels of 100 bytes."""
    for kernel_id in kernel_ids:
        cache.use(kernel_id, msgspec.structs.replace(bundle, kernel_id=kernel_id, bytes=100))


def test_what_was_used_is_at_hand_and_a_look_is_no_use(bundle: OpenedBundle):
    cache = cache_of()
    filled(cache, bundle, "aabba")
    assert (cache.hits, cache.misses, cache.bytes) == (3, 2, 200)
    found = [cache.at_hand(kernel_id) for kernel_id in "abc"]
    assert [None if one is None else one.kernel_id for one in found] == ["a", "b", None]
    assert (cache.hits, cache.misses, cache.kernel_ids) == (3, 2, ("b", "a"))


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


def test_a_cache_without_room_keeps_nothing(bundle: OpenedBundle):
    cache = cache_of(limit_count=0)
    filled(cache, bundle, "aa")
    assert (cache.at_hand("a"), cache.misses) == (None, 2)
    assert (cache.kernel_ids, cache.evictions()) == ((), [])


def test_the_number_of_kernels_is_bounded_too(bundle: OpenedBundle):
    cache = cache_of(limit_count=2)
    filled(cache, bundle, "abc")
    assert cache.kernel_ids == ("b", "c")


def test_what_no_seed_has_used_for_long_goes_and_a_use_begins_the_count_anew(bundle: OpenedBundle):
    cache = cache_of(attached="a", unused=2)
    filled(cache, bundle, "abc")
    for _ in range(2):
        cache.new_epoch()
    filled(cache, bundle, "b")
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
