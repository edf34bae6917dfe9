"""The secrets that sign what is written, and verify what is read."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path

from eventstore.errors import KeyMissing, KeyRefused, SecretUnfit
from eventstore.secret_file import create_secret, read_secret

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

        `ESPER_LEYLINE_SECRET` signs; those of `ESPER_LEYLINE_SECRET_PREVIOUS`, separated by commas or spaces, still
        verify (rotation): a log is read with every key that ever signed in it.

        Raises:
            KeyRefused: the secret is empty, there are only previous ones, or the file can be read by others.
        """
        told = environ.get(PREVIOUS_VARIABLE, "").strip()
        # A secret of old may hold a comma or a space itself, so that the whole is one key more.
        previous = dict.fromkeys(([told] if told else []) + told.replace(",", " ").split())
        if VARIABLE not in environ:
            if previous:
                raise KeyRefused(f"${PREVIOUS_VARIABLE}", f"is set without ${VARIABLE}: set both, or neither")
            return cls(_key_in(folder / KEY_FILE))
        current = environ[VARIABLE].strip()
        if not current:
            raise KeyRefused(f"${VARIABLE}", "is empty: set a long random value, or unset it")
        return cls(current, *previous)

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


def _key_in(path: Path) -> str:
    create_secret(path)
    try:
        return read_secret(path)
    except SecretUnfit as unfit:
        raise KeyRefused(str(path), unfit.reason) from unfit
