"""A wire to a server that can lose what the server says, stop taking it, and be cut."""

import asyncio
from urllib.parse import urlsplit


class Wire:
    """Carries bytes between clients and one server.

    While *deaf*, what the server says is lost on the way; while stalled, nobody reads it from the socket.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.deaf = False
        self.lost = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._sent = 0
        self._more_sent = asyncio.Condition()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    @property
    def url(self) -> str:
        """Where clients connect in the server's place."""
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def go_deaf(self) -> None:
        """From now on lose what the server says; *lost* is set at the first byte."""
        self.deaf = True
        self.lost.clear()

    def hear(self) -> None:
        """Hear the server again, on the same connections."""
        self.deaf = False

    def stall(self) -> None:
        """From now on read nothing of what the server says, so that it piles up on the server's side."""
        self._flowing.clear()

    def flow(self) -> None:
        """Read again."""
        self._flowing.set()

    async def until_sent(self, many: int) -> None:
        """Wait until clients have sent *many* bytes over this wire."""
        async with self._more_sent:
            await self._more_sent.wait_for(lambda: self._sent >= many)

    def cut(self) -> None:
        """End every connection; new ones hear the server again."""
        self.deaf = False
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(self._host, self._port)
        except OSError:
            to_client.close()
            return
        self._writers |= {to_client, to_server}
        await asyncio.gather(
            self._carry(from_client, to_server, losing=False), self._carry(from_server, to_client, losing=True)
        )

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, losing: bool) -> None:
        try:
            while data := await source.read(65536):
                if losing and self.deaf:
                    self.lost.set()
                    continue
                sink.write(data)
                if losing:
                    await self._flowing.wait()
                else:
                    await self._count(len(data))
        except ConnectionError:
            pass
        finally:
            sink.close()

    async def _count(self, sent: int) -> None:
        async with self._more_sent:
            self._sent += sent
            self._more_sent.notify_all()
