"""What Karn refuses to build.

BlueprintRefused
├── UnknownBlueprint     no blueprint of that id in the catalogue
├── VersionUnknown       the catalogue holds another version of it
├── SandboxOnly          it was built to do harm: only the sandbox's process builds it
├── ParameterRefused     a parameter that the blueprint does not declare, or a value outside its bounds
├── ShapeUnsupported     the blueprint has no module for that input and output
├── BlueprintUnsound     an own blueprint whose modules are not what a seed has to be
└── NameTaken            another own blueprint is registered under that id
SandboxDied              the sandbox's process is gone
"""


class BlueprintRefused(Exception):
    """A request for a module that the catalogue does not allow; nothing was built."""


class UnknownBlueprint(BlueprintRefused):
    """No blueprint of that id is in the catalogue."""

    def __init__(self, blueprint_id: str, known: tuple[str, ...]) -> None:
        self.blueprint_id, self.known = blueprint_id, known
        super().__init__(
            f"no blueprint {blueprint_id!r} is known here, only {', '.join(known)}; one of your own is known once the "
            "code with its @esper.blueprint has run"
        )


class VersionUnknown(BlueprintRefused):
    """The catalogue holds another version of that blueprint."""

    def __init__(self, blueprint_id: str, wanted: str, held: str) -> None:
        self.blueprint_id, self.wanted, self.held = blueprint_id, wanted, held
        super().__init__(f"no {blueprint_id}@{wanted}: this installation has {blueprint_id}@{held}")


class SandboxOnly(BlueprintRefused):
    """The blueprint was built to do harm, and this process is not the sandbox's."""

    def __init__(self, blueprint_id: str, name: str) -> None:
        self.blueprint_id, self.name = blueprint_id, name
        super().__init__(
            f"{blueprint_id} ({name}) is adversarial: it is never grown, and runs in the sandbox alone "
            "(`esper.karn.sandbox.examining`)"
        )


class ParameterRefused(BlueprintRefused):
    """A parameter is unknown to the blueprint, or its value is not one that the blueprint allows."""

    def __init__(self, blueprint_id: str, name: str, value: float, why: str) -> None:
        self.blueprint_id, self.name, self.value, self.why = blueprint_id, name, value, why
        super().__init__(f"{blueprint_id}: {name}={value:g} refused: {why}")


class ShapeUnsupported(BlueprintRefused):
    """The blueprint has no module that maps this input to this output."""

    def __init__(self, blueprint_id: str, route: str, why: str) -> None:
        self.blueprint_id, self.route, self.why = blueprint_id, route, why
        super().__init__(f"{blueprint_id} cannot map {route}: {why}")


class BlueprintUnsound(BlueprintRefused):
    """What an own blueprint builds cannot be a seed; the message says what to change."""

    def __init__(self, blueprint_id: str, why: str) -> None:
        self.blueprint_id, self.why = blueprint_id, why
        super().__init__(f"blueprint {blueprint_id!r} refused: {why}")


class NameTaken(BlueprintRefused):
    """Two own blueprints want one id in one process."""

    def __init__(self, blueprint_id: str, known: str, given: str) -> None:
        self.blueprint_id, self.known, self.given = blueprint_id, known, given
        super().__init__(
            f"blueprint {blueprint_id!r} is registered already, as {known}, and this one is {given}: give it another "
            "id, or say replace=True; what has grown from the old one can then not be rebuilt in this process"
        )


class SandboxDied(Exception):
    """The process that examines blueprints is gone; nothing is known about the one that was asked for."""

    def __init__(self, blueprint_id: str) -> None:
        self.blueprint_id = blueprint_id
        super().__init__(f"the sandbox died before it could examine {blueprint_id}: open a new one")
