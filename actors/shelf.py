"""Large results that wait to be fetched in chunks, each small enough for one message."""

from collections import OrderedDict
from secrets import token_hex

# Base64 adds a third, and one message carries 1 MiB.
CHUNK_BYTES = 512 * 1024
RESULTS_AT_MOST = 4


class Shelf:
    """Keeps the newest results until their last chunk was taken; older ones are given up for them."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, bytes] = OrderedDict()

    def put(self, result: bytes) -> str:
        """Keep *result* and return the name to take it by."""
        token = token_hex(16)
        self._results[token] = result
        while len(self._results) > RESULTS_AT_MOST:
            self._results.popitem(last=False)
        return token

    def take(self, token: str, offset: int) -> bytes | None:
        """Return the chunk at *offset*; None if the result is not kept any more. Its last chunk is taken once."""
        result = self._results.get(token)
        if result is None or not 0 <= offset < len(result):
            return None
        if offset + CHUNK_BYTES >= len(result):
            del self._results[token]
        return result[offset : offset + CHUNK_BYTES]
