"""A secret in a file of its own that only its owner may read: a signing key, a password."""

import os
import secrets
import tempfile
from pathlib import Path

from eventstore.errors import SecretUnfit


def create_secret(path: Path) -> None:
    """Write a new secret (256 random bits) to *path*, mode 0600, unless there is one or somebody else does so first.

    A link appears whole or not at all, so that nobody ever reads half a secret.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".secret-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        Path(draft).unlink()


def read_secret(path: Path) -> str:
    """Return the secret in *path*.

    Raises:
        FileNotFoundError: there is none.
        SecretUnfit: it is empty, or others can read it.
    """
    if path.stat().st_mode & 0o077:
        raise SecretUnfit(str(path), f"can be read by others: chmod 600 {path}")
    secret = path.read_text(encoding="ascii").strip()
    if not secret:
        raise SecretUnfit(str(path), "is empty: restore it, or what it protects cannot be used")
    return secret
