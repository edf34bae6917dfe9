"""Who may do what on a NATS server: users with passwords and the subjects that each may publish and hear."""

from urllib.parse import urlsplit, urlunsplit

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user of a server. What is not listed is denied. The password shows in no repr."""

    name: str
    password: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    def config(self) -> dict[str, object]:
        """Return the user as the server's configuration has it."""
        permissions = {"publish": {"allow": list(self.publish)}, "subscribe": {"allow": list(self.subscribe)}}
        return {"user": self.name, "password": self.password, "permissions": permissions}


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """The files with which a server proves who it is, and the authority by which clients know that it is so."""

    certificate: str
    key: str
    authority: str

    def config(self) -> dict[str, object]:
        """Return these as the server's configuration has them."""
        return {"cert_file": self.certificate, "key_file": self.key, "min_version": "1.3"}


def without_password(url: str) -> str:
    """Return *url* as it may be shown: without the user and password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
