"""The secrets that sign what is written, and verify what is read."""

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from eventstore.errors import KeyMissing, KeyRefused

VARIABLE = "ESPER_LEYLINE_SECRET"
PREVIOUS_VARIABLE = "ESPER_LEYLINE_SECRET_PREVIOUS"
KEY_FILE = "key"
_BLOCK_BYTES = 64


class Keys:
    """A ring of HMAC-SHA256 keys: one signs, all verify. A secret shows in no repr, log or traceback message."""

    def __init__(self, current: str, *previous: str) -> None:
        """Take the secrets as text; a key's id is derived from it, so equal secrets have equal ids everywhere.

        Raises:
            KeyRefused: a secret is empty.
        """
        if not all((current, *previous)):
            raise KeyRefused("the key ring", "is empty")
        self._signers = {_key_id(secret): _Hmac(secret.encode()) for secret in (*previous, current)}
        self.current_id = _key_id(current)

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.ids())})"

    @classmethod
    def generate(cls) -> "Keys":
        """Return a ring with one new random key that is stored nowhere."""
        return cls(secrets.token_hex(32))

    @classmethod
    def load(cls, folder: Path, environ: Mapping[str, str]) -> "Keys":
        """Return the ring that *environ* names, else that of `<folder>/key`, which is created (0600) if missing.

        `ESPER_LEYLINE_SECRET` signs; `ESPER_LEYLINE_SECRET_PREVIOUS`, if set, still verifies (rotation).

        Raises:
            KeyRefused: the secret is empty, or the file can be read by others.
        """
        if VARIABLE not in environ:
            return cls(_read_or_create(folder / KEY_FILE))
        current, previous = environ[VARIABLE].strip(), environ.get(PREVIOUS_VARIABLE, "").strip()
        if not current:
            raise KeyRefused(f"${VARIABLE}", "is empty: set a long random value, or unset it")
        return cls(current, previous) if previous else cls(current)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all keys, the current one last."""
        return tuple(self._signers)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of *data* under the current key."""
        return self._signers[self.current_id].digest(data)

    def verify(self, data: bytes, key_id: str, signature: bytes) -> bool:
        """Say in constant time whether *signature* is that of *data* under the key called *key_id*.

        Raises:
            KeyMissing: there is no such key in the ring.
        """
        signer = self._signers.get(key_id)
        if signer is None:
            raise KeyMissing(key_id)
        return hmac.compare_digest(signer.digest(data), signature)


class _Hmac:
    """HMAC-SHA256 (RFC 2104) under one key whose two padded halves are hashed once: `hmac.digest` takes twice as long.

    The key itself is not kept.
    """

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, data: bytes) -> bytes:
        """Return the signature of *data*."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()


def _key_id(secret: str) -> str:
    return hashlib.sha256(b"leyline key id\0" + secret.encode()).hexdigest()[:16]


def _read_or_create(path: Path) -> str:
    if not path.exists():
        _create(path)
    if path.stat().st_mode & 0o077:
        raise KeyRefused(str(path), f"can be read by others: chmod 600 {path}")
    secret = path.read_text(encoding="ascii").strip()
    if not secret:
        raise KeyRefused(str(path), "is empty: restore it, or the log it signed cannot be verified")
    return secret


def _create(path: Path) -> None:
    """Write a new secret to *path* unless somebody else does so first: a link appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".key-", dir=path.parent)
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
