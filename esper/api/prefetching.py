"""Kernels on their way to seeds that have germinated: asked for, awaited, read and verified beside the training."""

from concurrent.futures import Future

import msgspec

from actors.loop import BackgroundLoop
from actors.place import Place
from actors.prefetch import Fetched, Prefetch
from esper.api.kernels import Verified, kernel_spec, verified
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.kernel_pb2 import OwnKernel
from esper.urza.cache import KernelCache


class _Order(msgspec.Struct, frozen=True):
    kernel_key: str
    fetched: "Future[Fetched[Verified]]"


class Prefetching:
    """What was ordered for which seed. Training thread only; nothing that it starts touches the model.

    When a kernel is attached does not depend on when it came: a fence waits for it.
    """

    def __init__(
        self, loop: BackgroundLoop, kernels: Prefetch, place: Place, cache: KernelCache, ask_within_s: float
    ) -> None:
        self._loop, self._kernels, self._place, self._cache = loop, kernels, place, cache
        self._ask_within_s = ask_within_s
        self._orders: dict[str, _Order] = {}

    def order(self, seed_id: str, seed: Seed, own: OwnKernel | None = None) -> None:
        """Ask for the kernel of *seed*, and read and verify it when it is there; ordered once.

        *own* is that kernel, if this process has made it.

        Raises:
            BundleRefused: this installation would build something else under its specification.
        """
        if seed_id in self._orders and self._orders[seed_id].kernel_key == seed.kernel_key:
            return
        self.cancel(seed_id)
        spec = kernel_spec(seed)

        def read(kernel_id: str) -> Verified:
            return verified(self._place, seed, kernel_id, self._cache)

        work = self._kernels.fetch(seed_id, spec, seed.kernel_key, read, self._ask_within_s, own)
        self._orders[seed_id] = _Order(seed.kernel_key, self._loop.spawn(work))

    def fetched(self, seed_id: str, wait_s: float) -> Fetched[Verified]:
        """Wait for the kernel, verified, and forget that it was ordered.

        Raises:
            StoreUnavailable, LogFull: the log did not answer, or had no room for the request.
            TimeoutError: there was none.
        """
        try:
            return self._loop.wait(self._orders[seed_id].fetched, wait_s)
        finally:
            self.cancel(seed_id)

    def cancel(self, seed_id: str) -> None:
        """Give an order up, if there is one; what it was for may be ordered anew."""
        order = self._orders.pop(seed_id, None)
        if order is not None:
            order.fetched.cancel()

    def cancel_all(self) -> None:
        """Give all orders up."""
        for seed_id in tuple(self._orders):
            self.cancel(seed_id)
