"""A TCP proxy in front of a server, for everything that a network does.

It runs in a thread of its own. Whatever is set takes effect on connections that exist, too.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeAlias

PACKET = 512  # bytes that one connection sends, before others that wait for the line get their turn
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time to linger: close() sends RST


Target: TypeAlias = Path | tuple[str, int]


class Proxy:
    """Passes bytes from a port to a target, and back: PostgreSQL's socket in a directory, or a host and port.

    ``delay``   seconds per direction and message
    ``rate``    bytes per second, of all connections together; 0 = as fast as it goes
    ``port``    where it listens
    """

    def __init__(self, target: Target, address: str = "127.0.0.1") -> None:
        self.address = address
        self.delay = 0.0
        self.rate = 0.0
        self.port = 0
        self.answers_lost = 0  # how often lose_answer_to() struck
        self._target = target
        self._links: set[_Link] = set()
        self._lost: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._call(self._listen())

    def cut(self) -> None:
        """Reset every connection."""
        self._call(self._cut())

    def blackhole(self) -> None:
        """From now on nothing arrives anywhere; nobody is told. New connections hang as well."""
        self._call(self._set_open(False))

    def heal(self) -> None:
        """What was on its way arrives, as TCP has it after a partition."""
        self.delay = self.rate = 0.0
        self._call(self._set_open(True))

    def retarget(self, target: Target) -> None:
        """New connections go there; the old ones are reset, as when an address moves."""
        self._target = target
        self.cut()

    def lose_answer_to(self, *texts: bytes) -> None:
        """The next message that contains the text reaches the server; its answer is lost, with the link.

        Of several texts: the answer to the first message with the last one, on a link that sent the others.
        """
        self._lost = list(texts)

    def close(self) -> None:
        """Stop listening and reset what is open."""
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- on the proxy's thread

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._line = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._server = await asyncio.start_server(self._accept, self.address, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()

    async def _set_open(self, value: bool) -> None:
        if value:
            self._open.set()
        else:
            self._open.clear()

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.cut()
        # Their tasks end before anything else is asked of the proxy.
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, asyncio.current_task())
        self._links.add(link)
        try:
            await self._open.wait()
            server_reader, link.server = await _connect(self._target)
            ways = [self._forward(link, reader), self._back(link, server_reader)]
            tasks = [asyncio.create_task(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # no server there, or cut
        finally:
            self._links.discard(link)
            link.close()

    async def _forward(self, link: "_Link", reader: asyncio.StreamReader) -> None:
        assert link.server is not None
        while data := await reader.read(1 << 16):
            await self._travel(data)
            if self._lost and self._lost[link.seen] in data:
                link.seen += 1
                if link.seen == len(self._lost):
                    self._lost = []
                    link.loses_answer = True
            link.server.write(data)
            await link.server.drain()

    async def _back(self, link: "_Link", reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 16):
            await self._travel(data)
            if link.loses_answer:
                self.answers_lost += 1
                link.reset()
                return
            link.client.write(data)
            await link.client.drain()

    async def _travel(self, data: bytes) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        for sent in range(0, len(data) if self.rate else 0, PACKET):
            async with self._line:  # one after the other, as on one line, and in turns
                await asyncio.sleep(min(PACKET, len(data) - sent) / self.rate if self.rate else 0)
        await self._open.wait()


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(str(target / ".s.PGSQL.5432"))
    return await asyncio.open_connection(*target)


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, task: "asyncio.Task[None] | None") -> None:
        assert task is not None
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.task = task
        self.loses_answer = False
        self.seen = 0  # texts of lose_answer_to()

    def cut(self) -> None:
        self.reset()
        self.task.cancel()

    def reset(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is not None:
                writer.transport.abort()
