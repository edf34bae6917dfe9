"""The `esper` program: one command in, data on stdout, talk on stderr, an exit code that says how it went.

Exit codes: 0 it worked; 1 the answer is no; 2 wrong usage; 3 the log cannot be reached.
"""

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from eventstore.errors import (
    EventStoreError,
    KeyMissing,
    KeyRefused,
    LogCorrupt,
    LogMisconfigured,
    LogReplaced,
    ServerError,
    StoreUnavailable,
    UnknownEventType,
)
from eventstore.projection.errors import (
    PositionNotReached,
    ProjectionsBroken,
    ProjectionsBusy,
    ProjectionsMissing,
    QueryRefused,
    QueryTimedOut,
)
from ops.cli.app import app
from ops.cli.errors import CommandFailed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `esper` program and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _failed(f"{error}. See: esper --help", 2)
    except CommandFailed as error:
        return _failed(str(error), error.exit_code)
    except EventStoreError as error:
        return _log_failed(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0


def _log_failed(error: EventStoreError) -> int:
    match error:
        case QueryRefused() | QueryTimedOut():
            from ops.cli.asking import hint

            return _failed(f"{error}\nhint: {hint(error)}", 2)
        case PositionNotReached():
            return _failed(str(error), 2)
        case (
            StoreUnavailable()
            | KeyMissing()
            | KeyRefused()
            | LogMisconfigured()
            | ServerError()
            | ProjectionsBroken()
            | ProjectionsBusy()
            | ProjectionsMissing()
        ):
            return _failed(str(error), 3)
        case LogCorrupt() | LogReplaced() | UnknownEventType():
            return _failed(f"{error}. Check the whole log: esper log verify", 1)
        case _:
            return _failed(str(error), 1)


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"esper: {message}\n")
    return code


if __name__ == "__main__":
    main()
