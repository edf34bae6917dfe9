"""Servers in network namespaces of their own, so that the network between them can be taken away."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from eventstore.oona.binary import VARIABLE, find
from eventstore.oona.server import LocalServer

# Two test runs on one machine must not share a subnet.
NET = f"10.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
CLUSTER_PORT = 6222


def address(number: int) -> str:
    """Return the address of node *number*. The bridge itself has number 0."""
    return f"{NET}.{number + 1}"


def _names(number: int) -> tuple[str, str]:
    return f"espn{os.getpid()}-{number}", f"esv{number}-{os.getpid() % 100000}"


@contextmanager
def network(nodes: int) -> Iterator[None]:
    """Join *nodes* namespaces and this one by a bridge for the block's time.

    Raises:
        CalledProcessError: that is not allowed here.
    """
    bridge = f"esb{os.getpid() % 1000000}"
    _ip("link", "add", bridge, "type", "bridge")
    made: list[str] = []
    try:
        _ip("addr", "add", f"{NET}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(1, nodes + 1):
            name, cable = _names(number)
            _ip("netns", "add", name)
            made.append(name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in made:
            _ip("netns", "del", name)
        _ip("link", "del", bridge)


@cache
def why_no_network() -> str:
    """Return why namespaces cannot be joined here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with network(1):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces are not allowed here: {error}"


def require_networks() -> None:
    """Skip the test, with the reason, where namespaces cannot be joined."""
    if reason := why_no_network():
        pytest.skip(reason)


def node(folder: Path, number: int, nodes: int) -> LocalServer:
    """Return node *number* of a cluster of *nodes*, to be started in its own namespace."""
    routes = [f"nats://{address(other)}:{CLUSTER_PORT}" for other in range(1, nodes + 1) if other != number]
    settings: Mapping[str, object] = {
        "host": address(number),
        "http": f"{address(number)}:8222",
        "server_name": f"n{number}",
        "cluster": {"name": "esper", "host": address(number), "port": CLUSTER_PORT, "routes": routes},
    }
    environ = {**os.environ, VARIABLE: str(_entering(folder, _names(number)[0]))}
    return LocalServer(folder / f"n{number}", environ=environ, settings=settings, tied=True)


def part(one: int, others: Iterable[int]) -> None:
    """Lose every packet between node *one* and *others*, in both directions."""
    for other in others:
        for here, there in ((one, other), (other, one)):
            _ip("-n", _names(here)[0], "route", "add", "blackhole", f"{address(there)}/32")


def join(one: int, others: Iterable[int]) -> None:
    """Undo `part`."""
    for other in others:
        for here, there in ((one, other), (other, one)):
            _ip("-n", _names(here)[0], "route", "del", "blackhole", f"{address(there)}/32")


def _entering(folder: Path, name: str) -> Path:
    """Return a program that runs nats-server in the namespace *name*, under the process id it was started with."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / f"in-{name}"
    program.write_text(f'#!/bin/sh\nexec ip netns exec {name} {find(os.environ)} "$@"\n')
    program.chmod(0o755)
    return program


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
