"""The processes that use an embedded stack; it ends when the last of them has left or ended."""

import secrets
from pathlib import Path

from actors.mortality import alive, birth
from actors.place import Place


def enter(place: Place, pid: int) -> Path:
    """Note that the process *pid* uses the stack, once more if it already does; return the note, for `leave`."""
    folder = _folder(place)
    folder.mkdir(exist_ok=True)
    note = folder / f"{pid}-{secrets.token_hex(4)}"
    note.write_text(birth(pid), encoding="ascii")
    return note


def leave(note: Path) -> None:
    """Take *note* back; doing so twice is harmless."""
    note.unlink(missing_ok=True)


def living(place: Place) -> frozenset[int]:
    """Return the processes that use the stack and live, and forget those that do not."""
    folder = _folder(place)
    if not folder.is_dir():
        return frozenset()
    users = {note: int(note.name.partition("-")[0]) for note in folder.iterdir()}
    dead = {note for note, pid in users.items() if not _is_same(pid, note)}
    for note in dead:
        leave(note)
    return frozenset(pid for note, pid in users.items() if note not in dead)


def _is_same(pid: int, note: Path) -> bool:
    """Whether *pid* still is the process that was noted, and not a later one with its number."""
    try:
        return alive(pid) and note.read_text(encoding="ascii") in ("", birth(pid))
    except FileNotFoundError:
        return False


def _folder(place: Place) -> Path:
    return place.folder / "tenants"
