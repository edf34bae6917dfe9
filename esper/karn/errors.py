"""What Karn refuses to build.

BlueprintRefused
├── UnknownBlueprint     no blueprint of that id in the catalogue
├── ParameterRefused     a parameter that the blueprint does not declare, or a value outside its bounds
├── ShapeUnsupported     the blueprint has no module for that input and output
├── BlueprintUnsound     an own blueprint whose modules are not what a seed has to be
└── NameTaken            another own blueprint is registered under that id
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
