"""What every bus promises; each implementation is put through all of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

import pytest

from eventstore.errors import StoreUnavailable
from eventstore.store import CommandBus, EventStore, QueryBus
from tests.eventstore.vocabulary import OTHER, SEED, command, context, said, words

Item = TypeVar("Item")
LONG_AGO_NS = 1


class Bus(CommandBus, QueryBus):
    pass


async def take(source: AsyncGenerator[Item, None], many: int) -> list[Item]:
    async with asyncio.timeout(20):
        return [await anext(source) for _ in range(many)]


class BusContract:
    async def test_commands_arrive_oldest_first(self, bus: Bus):
        for word in "abc":
            await bus.send(command(word))
        async with aclosing(bus.commands("tezzeret")) as commands:
            deliveries = await take(commands, 3)
        assert [delivery.record.command.value for delivery in deliveries] == ["a", "b", "c"]

    async def test_a_command_arrives_as_it_was_sent(self, bus: Bus):
        sent = command()
        await bus.send(sent)
        async with aclosing(bus.commands("tezzeret")) as commands:
            [delivery] = await take(commands, 1)
        assert delivery.record == sent
        assert delivery.attempt == 1

    async def test_a_command_sent_before_anyone_listens_waits(self, bus: Bus):
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks, aclosing(bus.commands("urza")) as commands:
            waiting = tasks.create_task(anext(commands))
            await bus.send(command("late", target="urza"))
            assert (await waiting).record.command.value == "late"

    async def test_targets_do_not_see_each_others_commands(self, bus: Bus):
        await bus.send(command("for urza", target="urza"))
        await bus.send(command("for tezzeret"))
        async with aclosing(bus.commands("tezzeret")) as commands:
            [delivery] = await take(commands, 1)
        assert delivery.record.command.value == "for tezzeret"

    async def test_sending_the_same_command_again_is_harmless(self, bus: Bus):
        sent = command("once")
        await bus.send(sent)
        await bus.send(sent)
        await bus.send(command("next"))
        async with aclosing(bus.commands("tezzeret")) as commands:
            deliveries = await take(commands, 2)
        assert [delivery.record.command.value for delivery in deliveries] == ["once", "next"]

    async def test_a_command_that_nobody_acknowledged_comes_again(self, bus: Bus):
        await bus.send(command())
        async with aclosing(bus.commands("tezzeret", ack_wait_s=0.1)) as commands:
            first, second = await take(commands, 2)
        assert first.record.command_id == second.record.command_id
        assert (first.attempt, second.attempt) == (1, 2)

    async def test_a_command_delivered_as_often_as_allowed_and_never_settled_lets_the_next_pass(self, bus: Bus):
        await bus.send(command("deadly"))
        await bus.send(command("next"))
        async with aclosing(bus.commands("tezzeret", ack_wait_s=0.1, deliveries_at_most=2)) as commands:
            seen: list[str] = []
            for delivery in [*await take(commands, 2), *await take(commands, 2)]:
                seen.append(delivery.record.command.value)
        assert sorted(seen) == ["deadly", "deadly", "next", "next"]

    async def test_an_acknowledged_command_never_comes_again(self, bus: Bus):
        await bus.send(command("done"))
        async with aclosing(bus.commands("tezzeret", ack_wait_s=0.1)) as commands:
            [delivery] = await take(commands, 1)
            await delivery.ack()
        await bus.send(command("next"))
        async with aclosing(bus.commands("tezzeret", ack_wait_s=0.1)) as commands:
            [delivery] = await take(commands, 1)
        assert delivery.record.command.value == "next"

    async def test_a_postponed_command_lets_others_pass_and_comes_again(self, bus: Bus):
        await bus.send(command("later"))
        await bus.send(command("now"))
        async with aclosing(bus.commands("tezzeret")) as commands:
            [first] = await take(commands, 1)
            await first.retry_later(0.2)
            [second] = await take(commands, 1)
            await second.ack()
            [third] = await take(commands, 1)
        assert [delivery.record.command.value for delivery in (first, second, third)] == ["later", "now", "later"]
        assert third.attempt == 2

    async def test_work_in_progress_is_not_delivered_again(self, bus: Bus):
        await bus.send(command("slow"))
        async with aclosing(bus.commands("tezzeret", ack_wait_s=0.6)) as commands:
            [slow] = await take(commands, 1)
            following = asyncio.ensure_future(anext(commands))
            for _ in range(4):
                await asyncio.wait({following}, timeout=0.3)
                await slow.in_progress()
            assert not following.done()
            await slow.ack()
            await bus.send(command("next"))
            assert (await following).record.command.value == "next"

    async def test_a_command_after_its_deadline_is_not_delivered(self, bus: Bus):
        await bus.send(command("too late", deadline_ns=LONG_AGO_NS))
        await bus.send(command("in time"))
        async with aclosing(bus.commands("tezzeret")) as commands:
            [delivery] = await take(commands, 1)
        assert delivery.record.command.value == "in time"

    async def test_a_reactor_sees_each_commit_of_its_aggregates_from_the_beginning(self, bus: Bus, store: EventStore):
        await store.append(SEED, said("a", "b"), expected=0, context=context())
        await store.append(OTHER, said("not for it"), expected=0, context=context())
        await store.append(SEED, said("c"), expected=2, context=context())
        assert await self.reacted(bus, "reactor", ["seed"], 2) == [["a", "b"], ["c"]]

    async def test_a_reactor_goes_on_after_what_it_acknowledged(self, bus: Bus, store: EventStore):
        for number, word in enumerate("abc"):
            await store.append(SEED, said(word), expected=number, context=context())
        assert await self.reacted(bus, "reactor", ["seed"], 2) == [["a"], ["b"]]
        assert await self.reacted(bus, "reactor", ["seed"], 1) == [["c"]]

    async def test_a_commit_that_a_reactor_postponed_comes_again_first(self, bus: Bus, store: EventStore):
        for number, word in enumerate("ab"):
            await store.append(SEED, said(word), expected=number, context=context())
        async with aclosing(bus.events("reactor", ["seed"])) as deliveries:
            [first] = await take(deliveries, 1)
            await first.retry_later(0.05)
            [again] = await take(deliveries, 1)
            await again.ack()
            [following] = await take(deliveries, 1)
        assert [words(delivery.events) for delivery in (first, again, following)] == [["a"], ["a"], ["b"]]
        assert again.attempt == 2

    async def test_two_reactors_each_see_everything(self, bus: Bus, store: EventStore):
        await store.append(SEED, said("a"), expected=0, context=context())
        assert await self.reacted(bus, "one", ["seed", "run"], 1) == [["a"]]
        assert await self.reacted(bus, "two", ["seed"], 1) == [["a"]]

    async def test_a_question_is_answered(self, bus: Bus):
        async with asyncio.timeout(20), aclosing(bus.requests("esper.ask.echo")) as requests:
            serving = asyncio.ensure_future(anext(requests))
            answer = await self.until_served(bus, "esper.ask.echo", serving)
        assert answer == b"echo: hello"

    async def test_a_question_nobody_serves_is_refused_at_once(self, bus: Bus):
        with pytest.raises(StoreUnavailable):
            await bus.ask("esper.ask.nobody", b"?", timeout_s=5)

    async def reacted(self, bus: Bus, name: str, aggregates: Sequence[str], many: int) -> list[list[str]]:
        seen: list[list[str]] = []
        async with asyncio.timeout(20), aclosing(bus.events(name, aggregates)) as deliveries:
            while len(seen) < many:
                delivery = await anext(deliveries)
                seen.append(words(delivery.events))
                await delivery.ack()
        return seen

    async def until_served(self, bus: Bus, subject: str, serving: "asyncio.Future[object]") -> bytes:
        """Ask until the server, which starts in parallel, is there; then let it answer."""
        while True:
            asking = asyncio.ensure_future(bus.ask(subject, b"hello", timeout_s=5))
            await asyncio.wait({asking, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                request = serving.result()
                await request.answer(b"echo: " + request.data)
                return await asking
            assert isinstance(asking.exception(), StoreUnavailable)
