"""Who may do what on a NATS server: users with passwords and the subjects that each may publish and hear."""

from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

ANSWER_WITHIN = "10m"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who connects. The password shows in no repr."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.name!r})"


def inbox_of(name: str) -> str:
    """Return the root of the subjects on which the user called *name* is answered; nobody else may listen there."""
    return f"_INBOX.{name}"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user of a server. What is not listed, or is denied, is refused. The password shows in no repr.

    One that *answers* may publish one answer to each question that it is asked, wherever its asker listens.
    """

    name: str
    password: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    deny: tuple[str, ...] = ()
    answers: bool = False

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    def config(self) -> dict[str, object]:
        """Return the user as the server's configuration has it."""
        publish = {"allow": list(self.publish)} | ({"deny": list(self.deny)} if self.deny else {})
        permissions: dict[str, object] = {"publish": publish, "subscribe": {"allow": list(self.subscribe)}}
        if self.answers:
            permissions["allow_responses"] = {"max": 1, "expires": ANSWER_WITHIN}
        return {"user": self.name, "password": self.password, "permissions": permissions}


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """The files with which a server proves who it is, and the authority by which clients know that it is so."""

    certificate: str
    key: str
    authority: str

    def config(self) -> dict[str, object]:
        """Return these as the server's configuration has them."""
        return {"cert_file": self.certificate, "key_file": self.key, "min_version": "1.3"}


def login_in(url: str) -> Login | None:
    """Return the user and password that *url*, or the first of several, names; None if it names none."""
    parts = urlsplit(url.split(",")[0])
    if not parts.username or not parts.password:
        return None
    return Login(name=unquote(parts.username), password=unquote(parts.password))


def without_password(url: str) -> str:
    """Return *url*, or several with commas between, as it may be shown: without the users and passwords in it."""
    parts = [urlsplit(one) for one in url.split(",")]
    return ",".join(urlunsplit(part._replace(netloc=part.netloc.rpartition("@")[2])) for part in parts)
