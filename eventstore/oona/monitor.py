"""What a server's monitoring port says about it."""

import http.client
from urllib.parse import urlsplit

import msgspec

from eventstore.errors import StoreUnavailable

WAIT_S = 2.0


class _JetStreamConfig(msgspec.Struct, frozen=True):
    sync_always: bool = False


class _JetStreamReport(msgspec.Struct, frozen=True):
    config: _JetStreamConfig


def is_durable(monitor: str) -> bool:
    """Say whether the server whose monitor is at *monitor* syncs before it acknowledges. Blocks for a moment.

    Raises:
        StoreUnavailable: the monitor did not answer, or the server has no JetStream.
    """
    status, body = _get(monitor, "/jsz")
    try:
        return status == http.client.OK and msgspec.json.decode(body, type=_JetStreamReport).config.sync_always
    except msgspec.DecodeError as error:
        raise StoreUnavailable(f"asking {monitor} about syncing", str(error)) from error


def is_healthy(monitor: str) -> bool:
    """Say whether the server, with its JetStream, is ready for work; False too if nobody answers. Blocks a moment."""
    try:
        status, _ = _get(monitor, "/healthz")
    except StoreUnavailable:
        return False
    return status == http.client.OK


def _get(monitor: str, path: str) -> tuple[int, bytes]:
    place = urlsplit(monitor)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise StoreUnavailable(f"asking {monitor}{path}", str(error) or type(error).__name__) from error
    finally:
        connection.close()
