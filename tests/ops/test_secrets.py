"""The signing key stays where it was put: no file, log or answer of a whole stack tells it."""

from pathlib import Path

import pytest

from ops.cli.main import run
from tests.ops.story import RUN_ID

SECRET = "a-secret-that-nobody-may-see-5d1e"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ESPER_LEYLINE_SECRET", SECRET)
    yield tmp_path / "esper"
    run(["down", "--folder", str(tmp_path / "esper")])


def told_in(folder: Path, secret: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_stack_that_works_fails_and_ends_tells_its_secret_nowhere(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert run(["up", "--folder", str(folder)]) == 0
    spoken = "".join(capfd.readouterr())
    supervised = run(["status", "--folder", str(folder), "--json"])
    for command in (["log", "verify"], ["dead", "list"], ["query", "from refusals"], ["why", RUN_ID, "1"]):
        run([*command, "--folder", str(folder)])
    monkeypatch.setenv("ESPER_LEYLINE_SECRET", f"another-{SECRET[::-1]}")
    run(["log", "verify", "--folder", str(folder)])
    run(["down", "--folder", str(folder)])
    spoken += "".join(capfd.readouterr())
    assert supervised == 0
    assert len(list(folder.glob("logs/*.log"))) >= 4
    assert SECRET not in spoken
    assert told_in(folder, SECRET) == []


def test_a_secret_that_was_made_is_in_the_key_file_and_in_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ESPER_LEYLINE_SECRET", raising=False)
    folder = tmp_path / "esper"
    try:
        assert run(["up", "--folder", str(folder)]) == 0
        assert run(["log", "verify", "--folder", str(folder)]) == 0
    finally:
        run(["down", "--folder", str(folder)])
    secret = (folder / "key").read_text().strip()
    assert len(secret) == 64
    assert told_in(folder, secret) == [folder / "key"]
