"""The configurations that are handed out are ones that the server takes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from actors.place import Place
from eventstore.oona.binary import find
from tests.architecture.source_tree import ROOT

STACK = ROOT / "ops" / "stack"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What an operator has after following the first lines of `cluster.conf`."""
    shutil.copy(STACK / "cluster.conf", tmp_path)
    with (tmp_path / "users.conf").open("wb") as users:
        subprocess.run(
            [sys.executable, "-m", "ops.stack.users", str(tmp_path / ".esper")], stdout=users, check=True, cwd=ROOT
        )
    certs = tmp_path / "certs"
    certs.mkdir()
    new = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    )
    names = ("-subj", "/CN=esper", "-addext", "subjectAltName=DNS:n1,DNS:n2,DNS:n3")
    out = ("-keyout", str(certs / "tls.key"), "-out", str(certs / "tls.crt"))
    subprocess.run([*new, *names, *out], check=True, capture_output=True)
    shutil.copy(certs / "tls.crt", certs / "ca.crt")
    return tmp_path


def tried(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find(os.environ), "-t", "-c", config],
        env=os.environ | {"NODE_NAME": "n1"},
        cwd=config.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_configuration_of_one_node_is_one(tmp_path: Path):
    shutil.copy(STACK / "nats.conf", tmp_path)
    ran = tried(tmp_path / "nats.conf")
    assert ran.returncode == 0, ran.stderr


def test_the_configuration_of_a_cluster_is_one_with_users_and_certificates(folder: Path):
    ran = tried(folder / "cluster.conf")
    assert ran.returncode == 0, ran.stderr
    (folder / "users.conf").unlink()
    assert tried(folder / "cluster.conf").returncode != 0


def test_the_users_are_for_the_owner_only_and_those_of_the_folder(folder: Path):
    assert (folder / "users.conf").stat().st_mode & 0o777 == 0o600
    written = (folder / "users.conf").read_text(encoding="utf-8")
    login = Place.at(folder / ".esper", {}).login("trainer")
    assert login is not None
    assert login.password in written
