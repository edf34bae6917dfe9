"""`esper up`, `esper down`, `esper status`: the local stack."""

import asyncio
import os
from pathlib import Path

import msgspec

from actors.outbox import left_over
from actors.place import LOCK_FILE, OUTBOXES, Place
from actors.settings import SettingsInvalid, StackSettings, read_settings
from actors.stack import StackNotReady, StackStuck
from actors.stack import down as stop_stack
from actors.stack import up as start_stack
from actors.stackfile import StackFile
from actors.wellbeing import StackStatus, stack_status
from ops.cli.errors import CommandFailed
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table, say


class StackFailed(CommandFailed):
    """The local stack did not do what it was told."""

    exit_code = 3


def up(*, options: Options = DEFAULTS) -> None:
    """Start the local stack in the background; ready when this returns. Twice is harmless."""
    try:
        stack = start_stack(Place.at(options.folder), _settings())
    except (StackNotReady, StackStuck) as error:
        raise StackFailed(str(error)) from error
    if options.json:
        print_json([msgspec.to_builtins(stack)])
        return
    say(f"the stack of {options.folder} is ready: attach(model, optimizer, log={stack.url!r})")
    _print_processes(stack)


def down(*, options: Options = DEFAULTS) -> None:
    """Stop the local stack; the data stays."""
    if not _ever_up(options.folder):
        _report_down(options, ran=False)
        return
    try:
        _report_down(options, ran=stop_stack(Place.at(options.folder), _settings()))
    except StackStuck as error:
        raise StackFailed(str(error)) from error


def status(*, options: Options = DEFAULTS) -> int:
    """Show who is alive and where to connect; exit code 1 if no stack runs or one of its parts does not answer."""
    if not _ever_up(options.folder):
        found = StackStatus(folder=str(options.folder.absolute()), stack=None)
    else:
        found = asyncio.run(stack_status(Place.at(options.folder), _settings()))
    found = msgspec.structs.replace(found, outboxes=left_over(options.folder / OUTBOXES))
    if options.json:
        print_json([msgspec.to_builtins(found)])
        return 0 if found.healthy else 1
    for run_id, depth in found.outboxes.items():
        say(f"{depth} facts of run {run_id} wait for the log: attach(..., resume={run_id[:12]!r}) hands them over")
    if found.stack is None:
        say(f"no stack runs in {options.folder}. Start one: esper up")
    else:
        _print_status(found, found.stack)
    return 0 if found.healthy else 1


def _ever_up(folder: Path) -> bool:
    """Whether a stack was ever started in *folder*; asking must not make it an installation."""
    return (folder / LOCK_FILE).exists()


def _settings() -> StackSettings:
    try:
        return read_settings(file=Path("esper.toml"), environ=os.environ).stack
    except SettingsInvalid as error:
        raise CommandFailed(str(error)) from error


def _report_down(options: Options, *, ran: bool) -> None:
    if options.json:
        print_json([{"folder": str(options.folder.absolute()), "stopped": ran}])
    else:
        say(f"stopped; the data stays in {options.folder}" if ran else f"no stack runs in {options.folder}")


def _print_processes(stack: StackFile) -> None:
    rows = [(process.name, process.state, str(process.pid or ""), str(process.restarts)) for process in stack.processes]
    print_table(("process", "state", "pid", "restarts"), [("weatherlight", "ready", str(stack.pid), "0"), *rows])


def _print_status(found: StackStatus, stack: StackFile) -> None:
    kind = "ends with its last user" if stack.embedded else "stays until `esper down`"
    say(f"{stack.url} ({kind}), monitor {stack.monitor_url}")
    say(f"acknowledged writes are {_DURABILITY[found.durable]}")
    if found.fabric is not None and found.fabric.conservative:
        say(f"conservative mode, only critical telemetry is taken: {found.fabric.reason}")
    epochs = {health.name: str(health.epoch or "") for health in found.answers}
    rows = [("weatherlight", "ready", str(stack.pid), "", "", "")]
    for process in stack.processes:
        silent = process.state == "ready" and process.name in found.silent
        state = "silent" if silent else process.state
        lag = str(found.waiting.get(process.name, ""))
        epoch = epochs.get(process.name, "")
        rows.append((process.name, state, str(process.pid or ""), str(process.restarts), epoch, lag))
    print_table(("process", "state", "pid", "restarts", "epoch", "waiting"), rows)
    if found.projected is None:
        say("the projector does not answer questions")
    else:
        say(f"projected to position {found.projected.position} of {found.projected.head}, lag {found.projected.lag}")
        if found.projected.halted:
            say(f"halted: {found.projected.halted}")


_DURABILITY = {True: "on disk", False: "NOT on disk yet when acknowledged", None: "unknown: the server does not say"}
