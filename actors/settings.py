"""What can be set from outside: `esper.toml`, overruled by the environment, overruled by arguments."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

_PREFIX = "ESPER__"


class SettingsInvalid(Exception):
    """A setting that does not exist or has the wrong form; says where it was given."""

    def __init__(self, source: str, problem: str) -> None:
        self.source, self.problem = source, problem
        super().__init__(f"{source}: {problem}")


class RestartSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process that died is brought back."""

    first_backoff_s: float = 0.2
    max_backoff_s: float = 10.0
    healthy_after_s: float = 30.0


class StackSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the stack's server is, and how long the stack may take.

    With *server* (several with commas between) the stack starts none of its own, and its actors work on that one;
    *monitor* is where that one answers for its health; streams that are missing there are created *replicas* times.
    """

    server: str = ""
    monitor: str = ""
    replicas: int = 1
    start_timeout_s: float = 30.0
    stop_timeout_s: float = 20.0
    actor_stop_timeout_s: float = 3.0
    health_timeout_s: float = 1.0


DEFAULTS = StackSettings()


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; read once at start, passed down."""

    stack: StackSettings = DEFAULTS
    restart: RestartSettings = RestartSettings()


def read_settings(
    *,
    file: Path = Path("esper.toml"),
    environ: Mapping[str, str],
    arguments: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings that *file* (may be absent), *environ* and *arguments* give; the later overrule the former.

    An environment variable names its setting as `ESPER__SECTION__KEY`; arguments nest as in the file.

    Raises:
        SettingsInvalid: an unknown key or a value of the wrong kind, with its source and path.
    """
    merged: dict[str, Any] = {}
    for source, layer in ((str(file), _from_file(file)), ("environment", _from(environ)), ("arguments", arguments)):
        _checked(source, layer or {})
        merged = _merge(merged, layer or {})
    return _checked("settings", merged)


def _checked(source: str, layer: Mapping[str, Any]) -> Settings:
    try:
        return msgspec.convert(layer, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(source, str(error)) from None


def _from_file(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(str(file), str(error)) from None


def _from(environ: Mapping[str, str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in environ.items():
        if name.startswith(_PREFIX):
            layer: dict[str, Any] = {}
            *sections, key = name.removeprefix(_PREFIX).lower().split("__")
            layer[key] = value
            for section in reversed(sections):
                layer = {section: layer}
            nested = _merge(nested, layer)
    return nested


def _merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(cast("dict[str, Any]", below), cast("dict[str, Any]", value))
        else:
            merged[key] = value
    return merged
