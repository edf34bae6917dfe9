"""What may happen to one blueprint in the library's list: it is registered, once per version."""

from typing import assert_never

import msgspec

from esper.leyline.decider import Decider
from esper.leyline.v1.blueprint_pb2 import BlueprintDescriptor, BlueprintRegistered, RegisterBlueprint


class Blueprint(msgspec.Struct, frozen=True):
    """The descriptor as last registered."""

    descriptor: BlueprintDescriptor | None = None


def decide(blueprint: Blueprint, command: RegisterBlueprint) -> list[BlueprintRegistered]:
    """Answer with the registration, or with nothing if the very same descriptor is registered already."""
    match command:
        case RegisterBlueprint():
            if blueprint.descriptor == command.descriptor:
                return []
            return [BlueprintRegistered(descriptor=command.descriptor)]
        case _:
            assert_never(command)


def evolve(blueprint: Blueprint, event: BlueprintRegistered) -> Blueprint:
    """Fold one recorded fact into *blueprint*. Total: history is never refused."""
    match event:
        case BlueprintRegistered():
            return Blueprint(event.descriptor)
        case _:
            assert_never(event)


BLUEPRINT: Decider[Blueprint, RegisterBlueprint, BlueprintRegistered] = Decider(
    "Blueprint", Blueprint(), decide, evolve
)
