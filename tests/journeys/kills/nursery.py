"""A process that has imported all there is, and forks one process per life: each dies, or ends, by itself.

It reads command lines of `life` from its input, one a line, as JSON lists, and answers each with the exit code; a
negative one is the signal that ended it. The first of each list is the file for what the life prints.
"""

import json
import os
import sys
import traceback

from tests.journeys.kills import life
from tests.journeys.zoo.life import Training
from tests.journeys.zoo.zoo import ZOO


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        talk, *arguments = json.loads(line)
        # Loads the data, so that every life finds them loaded.
        Training(ZOO[arguments[0]])
        child = os.fork()
        if child == 0:
            os._exit(lived(talk, arguments))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def lived(talk: str, arguments: list[str]) -> int:
    """Live a life in this process; return its exit code."""
    said = os.open(talk, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        life.main(arguments)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    main()
