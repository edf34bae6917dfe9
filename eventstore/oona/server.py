"""A nats-server of one's own, on loopback, whose acknowledgements mean that the bytes are on the disk."""

import asyncio
import ctypes
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from eventstore.errors import ServerNotReady
from eventstore.oona.binary import find
from eventstore.oona.credentials import Tls, User
from eventstore.oona.monitor import is_healthy
from eventstore.oona.streams import TELEMETRY

START_WAIT_S = 15.0
STOP_WAIT_S = 10.0
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
_POLL_S = 0.02
_LOG_TAIL_BYTES = 2000

_log = logging.getLogger("eventstore.oona")

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_starter() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Ports(msgspec.Struct, frozen=True):
    nats: list[str]
    monitoring: list[str]


class LocalServer:
    """One nats-server process with its JetStream store under a folder.

    Layout: `nats/` the store, `nats-server.conf`, `logs/nats-server.log`. It outlives its starter unless stopped
    or *tied* to it. After `kill` or `stop`, `start` brings it back on the same ports and store.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = -1,
        environ: Mapping[str, str] = os.environ,
        tied: bool = False,
        pass_fds: Sequence[int] = (),
        settings: Mapping[str, object] | None = None,
        users: Sequence[User] = (),
        tls: Tls | None = None,
    ) -> None:
        """Prepare a server in *folder*; *port* -1 lets the system choose.

        A *tied* server (Linux) is told to end when the thread that started it ends, even if that is killed. *pass_fds*
        stay open in it, so that it holds on to what they lock. *settings* go into the server's configuration beside
        ours and win over them; with another `sync_interval`, an acknowledgement no longer means the disk. With *users*,
        only they may connect, each with its own permissions; with *tls*, only encrypted.
        """
        self._settings = dict(settings or {})
        self._users, self._tls = tuple(users), tls
        self._tied, self._pass_fds = tied, tuple(pass_fds)
        self._folder = folder.resolve()
        self._port, self._monitor_port = port, -1
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: _Ports | None = None

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self._known().nats[0]

    @property
    def monitor(self) -> str:
        """Where it can be asked about its health."""
        return self._known().monitoring[0]

    @property
    def port(self) -> int:
        """The port of `url`."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process and running else None

    async def start(self, *, wait_s: float = START_WAIT_S) -> None:
        """Start it and return once it is ready for work.

        Raises:
            ServerMissing, ServerTooOld: there is no program to run.
            ServerNotReady: it ended or was not ready within *wait_s* seconds; nothing is left running.
        """
        binary = await asyncio.to_thread(find, self._environ)
        deadline, begins = time.monotonic() + wait_s, self._log_size()
        self._process = process = self._spawn(binary)
        while not await self._ready(process):
            if process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerNotReady(wait_s, self._log_tail())
            if self._telemetry_is_unreadable(begins):
                self.kill()
                self._set_telemetry_aside()
                begins = self._log_size()
                self._process = process = self._spawn(binary)
            await asyncio.sleep(_POLL_S)
        self._port, self._monitor_port = self.port, int(self.monitor.rsplit(":", 1)[1])

    async def stop(self) -> None:
        """Ask it to end, and wait until it has; harmless if it does not run."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._ports_file(process.pid).unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a crash would; harmless if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._ports_file(self._process.pid).unlink(missing_ok=True)

    def _spawn(self, binary: Path) -> "subprocess.Popen[bytes]":
        config = self._write_config()
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                [binary, "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._pass_fds,
                preexec_fn=_end_with_starter if self._tied and sys.platform == "linux" else None,
            )

    async def _ready(self, process: "subprocess.Popen[bytes]") -> bool:
        try:
            self._ports = msgspec.json.decode(self._ports_file(process.pid).read_bytes(), type=_Ports)
        except (FileNotFoundError, msgspec.DecodeError):
            return False
        return await asyncio.to_thread(is_healthy, self.monitor)

    def _telemetry_is_unreadable(self, begins: int) -> bool:
        """Say whether the server, whose words begin at *begins* in its log, cannot read its telemetry.

        It is not synced as it is written, so that a power cut may leave it torn; and the server is not healthy then.
        """
        with self._log_path.open("rb") as log:
            log.seek(begins)
            return f"> {TELEMETRY}' could not be recovered".encode() in log.read()

    def _set_telemetry_aside(self) -> None:
        """Take the telemetry out of the store: it is no record, and the log is not to be kept from anybody by it."""
        found = self._folder / "nats" / "jetstream" / "$G" / "streams" / TELEMETRY
        aside = self._folder / "damaged" / TELEMETRY
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        found.rename(aside)
        _log.warning("the server could not read its telemetry, perhaps after a power cut: it is in %s now", aside)

    def _log_size(self) -> int:
        return self._log_path.stat().st_size if self._log_path.exists() else 0

    def _known(self) -> _Ports:
        if self._ports is None:
            raise RuntimeError("the server was not started: its ports are not known yet")
        return self._ports

    @property
    def _log_path(self) -> Path:
        return self._folder / "logs" / "nats-server.log"

    def _ports_file(self, pid: int) -> Path:
        found = list(self._folder.glob(f"*_{pid}.ports"))
        return found[0] if found else self._folder / f"nats-server_{pid}.ports"

    def _log_tail(self) -> str:
        return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def _write_config(self) -> Path:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        config: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self._port,
            "http": f"127.0.0.1:{self._monitor_port}",
            "ports_file_dir": str(self._folder),
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {"store_dir": str(self._folder / "nats"), "sync_interval": "always"},
        }
        if self._users:
            config["authorization"] = {"users": [user.config() for user in self._users]}
        if self._tls:
            config["tls"] = self._tls.config()
        config |= self._settings
        path = self._folder / "nats-server.conf"
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(config), indent=2))
        return path
