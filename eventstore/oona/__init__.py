"""Oona: the message fabric, everything that touches JetStream."""

from eventstore.oona.log import Oona, connect, open_log

__all__ = ["Oona", "connect", "open_log"]
