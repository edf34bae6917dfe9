"""An event loop in a thread of its own, for a program that has none."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import perf_counter
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class BackgroundLoop:
    """Runs coroutines beside a thread that must not wait for the network longer than it says.

    Nothing is promised about a coroutine that was given up on except that it has been cancelled. After `stop`,
    no thread and no task of this loop is left.
    """

    def __init__(self, name: str = "esper-loop") -> None:
        # Seconds that callers have waited here for results.
        self.waited_s = 0.0
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # A loop knows its tasks weakly: one that nobody else holds would be gone in the middle of its work.
        self._under_way: set[Future[Any]] = set()

    @property
    def running(self) -> bool:
        """Whether coroutines can be handed over."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> "BackgroundLoop":
        """Start the thread; starting twice is harmless."""
        if not self.running:
            self._loop = asyncio.new_event_loop()
            # A daemon, so that a script that dies of an exception is not kept alive by its own log.
            self._thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self

    def spawn(self, work: Coroutine[Any, Any, Result]) -> "Future[Result]":
        """Start *work* and return its future at once; cancelling the future cancels the work.

        Raises:
            RuntimeError: the loop is not running; *work* was closed unstarted.
        """
        if self._loop is None or not self.running:
            work.close()
            raise RuntimeError("the background loop is not running: start it first")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def call(self, work: Coroutine[Any, Any, Result], timeout_s: float | None = None) -> Result:
        """Run *work* and return its result, waiting at most *timeout_s* seconds.

        Raises:
            TimeoutError: it took longer; *work* has been cancelled, and what it did until then stays done.
            RuntimeError: called from the loop's own thread, where waiting would never end.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the loop's own thread cannot wait for itself: await the coroutine instead")
        return self.wait(self.spawn(work), timeout_s)

    def wait(self, future: "Future[Result]", timeout_s: float | None = None) -> Result:
        """Return the result of work that was spawned, waiting at most *timeout_s* seconds. Not from the loop's thread.

        Raises:
            TimeoutError: it took longer; the work has been cancelled, and what it did until then stays done.
        """
        began = perf_counter()
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            future.cancel()
            raise TimeoutError(f"no answer within {timeout_s} s") from None
        except KeyboardInterrupt:
            future.cancel()
            raise
        finally:
            self.waited_s += perf_counter() - began

    def stop(self, timeout_s: float = 30.0) -> None:
        """Cancel every task, let each clean up, and end the thread; stopping twice is harmless.

        Raises:
            TimeoutError: a task did not end within *timeout_s* seconds of being cancelled.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout_s)
            if thread.is_alive():
                raise TimeoutError(f"the background loop still had work {timeout_s} s after it was told to stop")
        self._loop = self._thread = None

    def __enter__(self) -> "BackgroundLoop":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
