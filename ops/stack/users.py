"""An installation's users as a server's configuration has them. Run: python -m ops.stack.users [FOLDER] > users.conf

The output holds the passwords: keep it where only the server can read it. Passwords that are missing are made.
"""

import os
import stat
import sys
from pathlib import Path

import msgspec

from actors.place import Place
from actors.users import users_of

FOLDER = Path(".esper")


def users_conf(place: Place) -> str:
    """Return the part of a server's configuration that lets the users of *place* in, and nobody else."""
    users = {"users": [user.config() for user in users_of(place)]}
    return f"authorization: {msgspec.json.format(msgspec.json.encode(users), indent=2).decode()}\n"


def main() -> None:
    """Print it for the folder named on the command line, else for `.esper`; a new file is made unreadable to others."""
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fchmod(sys.stdout.fileno(), 0o600)
    sys.stdout.write(users_conf(Place.at(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)))


if __name__ == "__main__":
    main()
