"""The source of a user's builder together with all of the user's own code that it names: what its digest stands for."""

import inspect
import sysconfig
import textwrap
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

# Code of others may change under a version of theirs; it is the user's that may change without one.
_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_LIBRARIES = ("esper", "torch")
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def source_of(builder: Any) -> str:
    """Return the source of *builder* and, sorted by name, of the functions, classes and plain constants that it uses.

    Followed are names that the code spells out, through functions, methods, base classes and modules of the user's
    own. Not followed: what is only reached through an object, by `getattr`, or from a file that is read.

    Raises:
        OSError, TypeError: the source of one of them cannot be read.
    """
    found: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [(_name(builder), builder)]
    while waiting:
        name, thing = waiting.pop()
        if name in found:
            continue
        if isinstance(thing, FunctionType | type):
            found[name] = _text(thing)
            waiting += _named_in(thing)
        else:
            found[name] = f"{name} = {thing!r}\n"
    return "\n".join(text for _, text in sorted(found.items()))


def _name(thing: Any) -> str:
    # Without the module's: a script is `__main__` when it is run, and has its own name when it is imported.
    return str(thing.__qualname__)


def _text(thing: FunctionType | type) -> str:
    """Return the definition without its decorators, which say how a blueprint is offered and not what it is; a lambda
    with the lines that it stands on."""
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    begins = next((index for index, line in enumerate(lines) if line.startswith(("def ", "class "))), 0)
    return "\n".join(line.rstrip() for line in lines[begins:]).rstrip() + "\n"


def _named_in(thing: FunctionType | type) -> Iterator[tuple[str, Any]]:
    functions: list[FunctionType] = [thing] if isinstance(thing, FunctionType) else []
    if isinstance(thing, type):
        yield from ((_name(base), base) for base in thing.__bases__ if _is_the_users(base))
        functions += [method for member in vars(thing).values() if (method := _function_in(member)) is not None]
    for function in functions:
        names = set(_names(function.__code__))
        scope = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        for name in sorted(names & scope.keys()):
            yield from _kept(name, scope[name], names)


def _kept(name: str, value: Any, names: set[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, ModuleType):
        if _is_the_users(value):
            for inner in sorted(names & vars(value).keys()):
                yield from _kept(inner, vars(value)[inner], set())
    elif isinstance(value, FunctionType | type):
        if _is_the_users(value):
            yield _name(value), value
    elif isinstance(value, _PLAIN) or _is_plain_tuple(value):
        yield name, value


def _is_plain_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, _PLAIN) for part in cast("tuple[object, ...]", value))


def _function_in(member: Any) -> FunctionType | None:
    if isinstance(member, staticmethod | classmethod):
        member = cast("Any", member).__func__
    if isinstance(member, property):
        member = member.fget
    return member if isinstance(member, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_the_users(thing: Any) -> bool:
    module = thing.__name__ if isinstance(thing, ModuleType) else thing.__module__
    if module == "builtins" or module.partition(".")[0] in _LIBRARIES:
        return False
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:
        return False
    return file is None or not file.startswith(_INSTALLED)
