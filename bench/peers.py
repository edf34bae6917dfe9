"""What somebody would write by hand with nats-py: the peers, as fast as we could make them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeAlias
from uuid import uuid4

import msgspec
import nats
import nats.js
from nats.aio.client import Client
from nats.aio.msg import Msg

PULL = 5000
Headers: TypeAlias = Callable[[int], dict[str, str]]


async def connect(url: str) -> Client:
    """Return a plain connection."""
    return await nats.connect(url)


async def publish_one_by_one(js: nats.js.JetStreamContext, messages: Sequence[tuple[str, bytes]]) -> int:
    """`js.publish`, each acknowledged before the next; no headers."""
    for subject, data in messages:
        await js.publish(subject, data)
    return len(messages)


async def publish_async(js: nats.js.JetStreamContext, messages: Sequence[tuple[str, bytes]]) -> int:
    """nats-py's own pipeline; the context's window bounds what is in flight."""
    futures = [await js.publish_async(subject, data) for subject, data in messages]
    await asyncio.gather(*futures)
    return len(messages)


async def counted_acks(
    client: Client, messages: Sequence[tuple[str, bytes]], *, window: int, headers: Headers | None = None
) -> int:
    """A pipeline with one inbox that only counts acknowledgements: no deadline, no outcome for each message."""
    inbox, acknowledged, room, refused = client.new_inbox(), 0, asyncio.Event(), b""

    async def on_ack(message: Msg) -> None:
        nonlocal acknowledged, refused
        if b'"error"' in message.data:
            refused = message.data
        acknowledged += 1
        room.set()

    subscription = await client.subscribe(inbox, cb=on_ack, pending_msgs_limit=0, pending_bytes_limit=0)
    for sent, (subject, data) in enumerate(messages):
        while sent - acknowledged >= window:
            room.clear()
            await room.wait()
        await client.publish(subject, data, reply=inbox, headers=headers(sent) if headers else None)
    while acknowledged < len(messages):
        room.clear()
        await room.wait()
    await subscription.unsubscribe()
    if refused:
        raise RuntimeError(refused.decode())
    return acknowledged


async def pull(client: Client, stream: str, last: int) -> AsyncGenerator[list[Msg], None]:
    """Yield all messages up to position *last* in lists: callback, no acks, two pulls outstanding."""
    consumer, inbox = uuid4().hex, client.new_inbox()
    config = {"name": consumer, "deliver_policy": "all", "ack_policy": "none", "mem_storage": True}
    body = {"stream_name": stream, "config": config}
    await client.request(f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}", msgspec.json.encode(body))
    waiting: list[Msg] = []
    arrived = asyncio.Event()

    async def on_message(message: Msg) -> None:
        waiting.append(message)
        arrived.set()

    subscription = await client.subscribe(inbox, cb=on_message, pending_msgs_limit=0, pending_bytes_limit=0)
    more, request = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", msgspec.json.encode({"batch": PULL})
    seen, asked = 0, 0
    while seen < last:
        while asked - seen <= PULL:
            await client.publish(more, request, reply=inbox)
            asked += PULL
        await arrived.wait()
        arrived.clear()
        taken, waiting = waiting, []
        seen += len(taken)
        yield taken
    await subscription.unsubscribe()
    await client.request(f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", b"")
