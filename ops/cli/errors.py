"""What a command can meet beside the log's own errors, each with the exit code it ends in.

CommandFailed
├── UnknownRun          2  no run of that name; lists those there are
├── AmbiguousRun        2  the prefix fits several runs
├── UnknownPosition     2  the run has no event there
├── UnknownLetter       2  no dead letter of that name
├── AmbiguousLetter     2  the prefix fits several dead letters
├── NoLog               3  there is no log in the folder
└── LogUnreachable      3  there is one, but it cannot be read now
"""

from collections.abc import Sequence
from pathlib import Path


class CommandFailed(Exception):
    """A command that ends without doing what it was asked; the message names the next thing to try."""

    exit_code = 2


class UnknownRun(CommandFailed):
    """No run has that id or prefix."""

    def __init__(self, asked: str, known: Sequence[str]) -> None:
        self.asked, self.known = asked, tuple(known)
        newest = f"the newest is {known[-1]}" if known else "the log holds no run at all: start a training first"
        super().__init__(f"no run {asked!r}; {newest}. All of them: esper runs")


class AmbiguousRun(CommandFailed):
    """The prefix fits more than one run."""

    def __init__(self, asked: str, matching: Sequence[str]) -> None:
        self.asked, self.matching = asked, tuple(matching)
        shown = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")
        super().__init__(f"{asked!r} fits {len(matching)} runs ({shown}): type more of it, or `latest`")


class UnknownPosition(CommandFailed):
    """The run has no event at that position."""

    def __init__(self, run_id: str, asked: str, why: str) -> None:
        self.run_id, self.asked = run_id, asked
        super().__init__(f"run {run_id[:12]} has no event at {asked}: {why}. See them: esper events {run_id[:12]}")


class UnknownLetter(CommandFailed):
    """No dead letter has that id or prefix."""

    def __init__(self, asked: str, known: int) -> None:
        self.asked, self.known = asked, known
        super().__init__(f"no dead letter {asked!r} among {known}. All of them: esper dead list")


class AmbiguousLetter(CommandFailed):
    """The prefix fits more than one dead letter."""

    def __init__(self, asked: str, matching: Sequence[str]) -> None:
        self.asked, self.matching = asked, tuple(matching)
        super().__init__(f"{asked!r} fits {len(matching)} dead letters ({', '.join(matching[:5])}): type more of it")


class NoLog(CommandFailed):
    """There is no log to read."""

    exit_code = 3

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"there is no log in {folder}: run a training first, start the stack with `esper up`, "
            "or name another place with --folder or --log"
        )


class LogUnreachable(CommandFailed):
    """There is a log, but it cannot be read now."""

    exit_code = 3

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(f"cannot reach the log at {where}: {why}. Is it up? esper status")
