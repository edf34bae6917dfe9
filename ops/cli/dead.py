"""`esper dead list|show|retry|drop`: messages that were given up, and what is to become of them."""

import getpass
from collections.abc import Sequence

import msgspec

from actors.clock import SystemClock
from actors.dead_letters import Fate, FateSealed, Registrar
from eventstore.oona.burial import DeadLetter
from eventstore.oona.dead import NotRetryable
from ops.cli.chronicle import wall_time
from ops.cli.errors import AmbiguousLetter, CommandFailed, UnknownLetter
from ops.cli.log import OPERATOR, OpenLog, open_log
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import plain, print_json, print_line, print_table, say

_ERROR_SHOWN = 80


class LetterRow(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter. `command` is empty where the message's signature could not be verified."""

    letter_id: str
    status: str
    retries: int
    buried_at: str
    queued_at: str
    stream: str
    consumer: str
    position: int
    subject: str
    deliveries: int
    reason: str
    error: str
    command: str
    command_id: str
    issued_by: str
    run_id: str
    headers: dict[str, str]
    payload: object
    data_hex: str


async def list_letters(*, options: Options = DEFAULTS) -> None:
    """List the dead letters, oldest first; those that were dropped are gone from here but not from the log."""
    async with open_log(options) as log:
        registrar = _registrar(log)
        rows = [_row(log, letter, await registrar.fate(letter)) for letter in await log.dead.all()]
    if options.json:
        print_json(rows)
        return
    columns = ("letter", "status", "buried", "for", "command", "tries", "reason", "error")
    print_table(columns, [_cells(row) for row in rows])
    say("one of them whole: esper dead show LETTER" if rows else "no dead letters")


async def show(letter: str, *, options: Options = DEFAULTS) -> None:
    """Show one dead letter whole: where it was, why it was given up, what it holds.

    Args:
        letter: Its id, or the beginning of it.
    """
    async with open_log(options) as log:
        found = await _find(log, letter)
        row = _row(log, found, await _registrar(log).fate(found))
    if options.json:
        print_json([row])
        return
    for name, value in msgspec.structs.asdict(row).items():
        shown = msgspec.json.encode(value, enc_hook=plain).decode() if name in ("headers", "payload") else str(value)
        print_line(f"{name:<11} {shown}")


async def retry(letter: str, *, note: str = "", options: Options = DEFAULTS) -> None:
    """Queue a dead letter's command once more; recorded first. Its actor sees the same command id.

    Args:
        letter: Its id, or the beginning of it.
        note: Why; recorded with the decision.
    """
    async with open_log(options, OPERATOR) as log:
        found = await _find(log, letter)
        try:
            times = await _registrar(log).retry(found, by=_me(), note=note)
        except (NotRetryable, FateSealed) as error:
            raise CommandFailed(f"letter {found.letter_id} cannot be retried: {error}") from error
    _report(options, {"letter_id": found.letter_id, "retries": times}, f"queued again for {found.consumer}")


async def drop(letter: str, *, note: str = "", options: Options = DEFAULTS) -> None:
    """Remove a dead letter and its bytes; recorded first, with what it was.

    Args:
        letter: Its id, or the beginning of it.
        note: Why; recorded with the decision.
    """
    async with open_log(options, OPERATOR) as log:
        found = await _find(log, letter)
        await _registrar(log).drop(found, by=_me(), note=note)
    _report(options, {"letter_id": found.letter_id, "dropped": True}, "dropped; the log still says that it was there")


def _registrar(log: OpenLog) -> Registrar:
    return Registrar(log.store, log.dead, SystemClock(), "operator")


async def _find(log: OpenLog, asked: str) -> DeadLetter:
    letters = await log.dead.all()
    matching = [letter for letter in letters if letter.letter_id.startswith(asked)]
    if not matching or not asked:
        raise UnknownLetter(asked, len(letters))
    if len(matching) > 1:
        raise AmbiguousLetter(asked, [letter.letter_id for letter in matching])
    return matching[0]


def _row(log: OpenLog, letter: DeadLetter, fate: Fate) -> LetterRow:
    record = log.dead.command_in(letter)
    return LetterRow(
        letter_id=letter.letter_id,
        # The warden has not come by yet, or does not run: it is a dead letter all the same.
        status="buried" if fate.status == "unrecorded" else fate.status,
        retries=fate.retries,
        buried_at=wall_time(letter.buried_at_ns),
        queued_at=wall_time(letter.queued_at_ns),
        stream=letter.stream,
        consumer=letter.consumer,
        position=letter.position,
        subject=letter.subject,
        deliveries=letter.deliveries,
        reason=letter.reason,
        error=letter.error,
        command=record.command.DESCRIPTOR.name if record else "",
        command_id=record.command_id if record else "",
        issued_by=record.issued_by if record else "",
        run_id=record.run_id if record else "",
        headers=dict(letter.headers),
        payload=record.command if record else None,
        data_hex=letter.data.hex(),
    )


def _cells(row: LetterRow) -> Sequence[str]:
    status = row.status if row.retries < 2 else f"{row.status} x{row.retries}"
    error = row.error if len(row.error) <= _ERROR_SHOWN else row.error[: _ERROR_SHOWN - 3] + "..."
    return (row.letter_id, status, row.buried_at, row.consumer, row.command, str(row.deliveries), row.reason, error)


def _me() -> str:
    return getpass.getuser()


def _report(options: Options, row: dict[str, object], sentence: str) -> None:
    if options.json:
        print_json([row])
    else:
        say(f"letter {row['letter_id']}: {sentence}")
