"""What Karn refuses to build.

BlueprintRefused
├── UnknownBlueprint     no blueprint of that id in the catalogue
├── ParameterRefused     a parameter that the blueprint does not declare, or a value outside its bounds
└── ShapeUnsupported     the blueprint has no module for that input and output
"""


class BlueprintRefused(Exception):
    """A request for a module that the catalogue does not allow; nothing was built."""


class UnknownBlueprint(BlueprintRefused):
    """No blueprint of that id is in the catalogue."""

    def __init__(self, blueprint_id: str, known: tuple[str, ...]) -> None:
        self.blueprint_id, self.known = blueprint_id, known
        super().__init__(f"no blueprint {blueprint_id!r}: the catalogue holds {', '.join(known)}")


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
