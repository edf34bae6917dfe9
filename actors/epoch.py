"""How many times an actor has started: the number that tells a live one from its ghost."""

import os
import socket
from random import SystemRandom

import msgspec

from actors.clock import Clock
from actors.dispatch import dispatch
from actors.ids import new_id
from esper.leyline.decider import Decider
from esper.leyline.v1.actor_pb2 import ActorStarted, StartActor
from eventstore.store import Context, EventStore, StreamName


class ActorLife(msgspec.Struct, frozen=True):
    """What is known of one actor: its newest epoch, 0 before its first start."""

    epoch: int = 0


def decide(life: ActorLife, command: StartActor) -> list[ActorStarted]:
    """Answer a start with the next epoch; a start is never refused."""
    return [ActorStarted(host=command.host, pid=command.pid, durable=command.durable, epoch=life.epoch + 1)]


def evolve(life: ActorLife, event: ActorStarted) -> ActorLife:
    """Fold one start into *life*."""
    return ActorLife(epoch=event.epoch)


ACTOR: Decider[ActorLife, StartActor, ActorStarted] = Decider("Actor", ActorLife(), decide, evolve)


async def begin_epoch(store: EventStore, name: str, *, durable: bool, clock: Clock) -> int:
    """Record that the actor called *name* starts in this process, and return its epoch (1 for its first start)."""
    command = StartActor(host=socket.gethostname(), pid=os.getpid(), durable=durable)
    context = Context(
        command_id=new_id(clock, SystemRandom()),
        command_type=StartActor.DESCRIPTOR.full_name,
        recorded_at_ns=clock.now_ns(),
        actor=name,
    )
    appended = await dispatch(store, ACTOR, StreamName("actor", name), command, context)
    if appended is None:
        raise AssertionError("unreachable: a start is always recorded")
    starts = (recorded.event for recorded in appended.events)
    return ACTOR.fold(start for start in starts if isinstance(start, ActorStarted)).epoch
