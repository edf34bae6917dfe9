"""A background loop does what it is handed, gives up when told, and leaves nothing behind."""

import asyncio
import threading

import pytest

from actors.loop import BackgroundLoop


async def nap(seconds: float, ended: list[str]) -> str:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise
    return "rested"


async def fail() -> None:
    raise LookupError("the coroutine's own error")


def test_a_result_and_an_error_come_back_to_the_caller():
    with BackgroundLoop() as loop:
        assert loop.call(nap(0, []), timeout_s=5) == "rested"
        with pytest.raises(LookupError, match="own error"):
            loop.call(fail(), timeout_s=5)


def test_work_that_takes_too_long_is_cancelled():
    ended: list[str] = []
    with BackgroundLoop() as loop:
        with pytest.raises(TimeoutError, match=r"0\.01 s"):
            loop.call(nap(60, ended), timeout_s=0.01)
        assert loop.call(nap(0, []), timeout_s=5) == "rested"
    assert ended == ["cancelled"]


def test_stopping_cancels_what_still_runs_and_ends_the_thread():
    ended: list[str] = []
    loop = BackgroundLoop(name="ends-with-the-test").start()
    future = loop.spawn(nap(60, ended))
    loop.call(asyncio.sleep(0), timeout_s=5)
    loop.stop()
    loop.stop()
    assert (ended, future.cancelled(), loop.running) == (["cancelled"], True, False)
    assert "ends-with-the-test" not in {thread.name for thread in threading.enumerate()}


def test_the_loop_s_own_thread_is_not_made_to_wait_for_itself():
    async def call_again(loop: BackgroundLoop) -> None:
        loop.call(nap(0, []), timeout_s=5)

    with BackgroundLoop() as loop, pytest.raises(RuntimeError, match="wait for itself"):
        loop.call(call_again(loop), timeout_s=5)


def test_a_loop_that_is_not_running_takes_no_work():
    with pytest.raises(RuntimeError, match="not running"):
        BackgroundLoop().call(nap(0, []))
