"""`esper log verify`, `export`, `import`, `backup` and `restore`: the log itself, checked, copied and moved."""

import os
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from actors.place import Place
from actors.users import ADMIN, users_of
from esper.leyline.registry import EVENTS
from eventstore.archive import Archive, Examined, Exporter
from eventstore.importing import Importer
from eventstore.oona.backup import Ring, back_up, read_backup
from eventstore.oona.backup import restore as put_backup_back
from eventstore.oona.server import LocalServer
from eventstore.signing import KEY_FILE, VARIABLE, Keys
from eventstore.verification import Checked, Progress, verify_log
from ops.cli.chronicle import SHORT, read_chronicle
from ops.cli.errors import CommandFailed, LogUnreachable
from ops.cli.log import OPERATOR, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


async def verify(
    file: Path | None = None,
    *,
    first: Annotated[int, Parameter(name="--from")] = 1,
    last: Annotated[int | None, Parameter(name="--to")] = None,
    options: Options = DEFAULTS,
) -> int:
    """Check contiguity, versions, hash chains, signatures, ids and types of every commit, up to the first fault.

    Exit code 1 if there is one. With --from, each stream's first link after that position is taken as given.

    Args:
        file: An archive that `esper log export` wrote, instead of the log.
        first: The first position to check.
        last: The last position to check; the newest if left out.
    """
    if file is not None:
        return _show_examined(_archive(file).examine(_keys_at_hand(options), EVENTS), options)
    if first < 1:
        raise CommandFailed("positions begin at 1")
    async with open_log(options) as log:
        checked = await verify_log(log.store, after=first - 1, until=last, progress=_progress())
    return _show_checked(checked, "the log", options)


async def export(
    run: str, *, output: Annotated[Path, Parameter(name=["--output", "-o"])], options: Options = DEFAULTS
) -> None:
    """Write a run into one file: every stream in which it has a say, each whole, with what is needed to read it.

    Weights and checkpoints are blobs and stay out of it. The signing key is never in it.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        output: The file to write.
    """
    async with open_log(options) as log:
        chronicle = await read_chronicle(log.store)
        run_id = chronicle.run_named(run)
        exporter = Exporter(log.place.keys, EVENTS, time.time_ns)
        streams = {recorded.stream for recorded in chronicle.of_run(run_id)}
        exported = await exporter.export(log.store, streams, output, f"run {run_id}")
    if options.json:
        print_json([exported])
    else:
        print_line(
            f"{exported.path}: {exported.commits} commits of {exported.streams} streams, {exported.events} events, "
            f"{exported.bytes:,} bytes, SHA-256 {exported.sha256}"
        )
        say(f"check it anywhere: esper log verify {exported.path}")


async def import_(
    file: Path, *, unsigned: Annotated[bool, Parameter(negative="")] = False, options: Options = DEFAULTS
) -> None:
    """Put an exported run into this log, under this log's key; runs and events keep their ids.

    Args:
        file: What `esper log export` wrote.
        unsigned: Take it although the key that signed it is not here, so that anybody could have made it.
    """
    archive = _archive(file)
    run_id = archive.header.subject.removeprefix("run ")
    _start_place(options)
    async with open_log(options, OPERATOR) as log:
        importer = Importer(log.store, log.place.blobs, log.place.keys, EVENTS)
        imported = await importer.bring(archive, now_ns=time.time_ns(), run_id=run_id, accept_unsigned=unsigned)
    if options.json:
        print_json([imported])
        return
    before = imported.commits - imported.written
    print_line(f"{imported.written} commits imported, {before} were here; recorded at position {imported.position}")
    say(f"what happened in it: esper events {run_id[:SHORT]}")


async def backup(target: Path, *, options: Options = DEFAULTS) -> None:
    """Copy the whole log and its blobs to a new folder while everything runs, then restore the copy and verify it.

    The signing key is not copied: keep it elsewhere, for without it the copy is worth nothing.

    Args:
        target: The folder to create.
    """
    async with open_log(options, OPERATOR) as log:
        made = await back_up(
            log.url,
            log.place.blobs,
            target,
            Ring(log.place.keys, EVENTS),
            now_ns=time.time_ns(),
            environ=os.environ,
            login=log.login,
            progress=_progress(),
        )
    if options.json:
        print_json([made])
        return
    print_line(
        f"{target}: {made.checked.commits} commits to position {made.log.last_position}, {made.blobs} blobs; "
        "restored on a server of its own and verified"
    )
    say(f"keep the key too, elsewhere: ${VARIABLE} or {options.folder / KEY_FILE}")


async def restore(source: Path, *, options: Options = DEFAULTS) -> int:
    """Put a backup into --folder, which has no log yet, and verify what is there then.

    Args:
        source: The folder that `esper log backup` made.
    """
    read_backup(source)
    if options.log is not None:
        raise CommandFailed("a backup is restored into a folder: --folder, not --log")
    if any(options.folder.glob("nats/jetstream/*/streams/*")):
        raise CommandFailed(f"{options.folder} has a log already: restore into another --folder, or move it away")
    if VARIABLE not in os.environ and not (options.folder / KEY_FILE).exists():
        raise LogUnreachable(str(source), f"put the key that signed it into {options.folder / KEY_FILE}, or {VARIABLE}")
    place = Place.at(options.folder)
    server = LocalServer(place.folder, tied=True, users=users_of(place))
    await server.start()
    try:
        ring = Ring(place.keys, EVENTS)
        checked = await put_backup_back(
            source, server.url, place.folder / "blobs", ring, progress=_progress(), login=place.login(ADMIN)
        )
    finally:
        await server.stop()
    return _show_checked(checked, f"restored into {options.folder}:", options)


def _archive(file: Path) -> Archive:
    try:
        return Archive(file)
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from error


def _keys_at_hand(options: Options) -> Keys:
    """Return the folder's keys, or none that signed anything: checking a file must not create a key."""
    if VARIABLE in os.environ or (options.folder / KEY_FILE).exists():
        return Keys.load(options.folder, os.environ)
    return Keys.generate()


def _start_place(options: Options) -> None:
    """Make sure that there is a log to import into: a new folder gets an empty one and a key of its own."""
    if options.log is None:
        Place.at(options.folder)


def _progress() -> Progress:
    begun = 0.0

    def told(done: int, of: int) -> None:
        nonlocal begun
        if done:
            say(f"{done:,} of {of:,} commits, {done / (time.perf_counter() - begun):,.0f}/s")
        else:
            begun = time.perf_counter()

    return told


def _show_checked(checked: Checked, what: str, options: Options) -> int:
    fault = checked.fault
    if options.json:
        print_json([checked])
    elif fault is not None:
        print_line(f"FAULT at position {fault.position}: {fault.kind}", "red")
        print_line(f"  expected {fault.expected}")
        print_line(f"  found    {fault.found}")
    else:
        print_line(
            f"{what} verified, positions {checked.first_position} to {checked.last_position}: "
            f"{checked.commits} commits, {checked.events} events, {checked.streams} streams, {checked.bytes:,} bytes"
        )
    say(f"{checked.commits:,} commits in {checked.seconds:.2f} s: {checked.commits_per_second:,.0f}/s")
    return int(fault is not None)


def _show_examined(examined: Examined, options: Options) -> int:
    if options.json:
        print_json([examined])
        return int(examined.checked.fault is not None)
    code = _show_checked(examined.checked, f"{examined.subject}:", options)
    if not examined.signed:
        keys = ", ".join(examined.checked.key_ids)
        say(f"NOT checked: signatures by key {keys}, which is not here; form, ids, chains and digest are")
    return code
