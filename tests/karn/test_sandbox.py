"""Adversarial blueprints are refused everywhere but in the sandbox, which names what they do and outlives them."""

import subprocess
import sys
from collections.abc import Generator

import pytest

from esper.karn.builders import build
from esper.karn.candidates import candidates
from esper.karn.catalogue import CATALOGUE
from esper.karn.counting import parameter_count
from esper.karn.errors import ParameterRefused, SandboxDied, SandboxOnly
from esper.karn.sandbox.examining import Sandbox, sandbox
from tests.karn.sites import SITE, shape

ADVERSARIAL = [blueprint_id for blueprint_id, row in CATALOGUE.items() if row.quarantine_only]
WHERE = shape((6, 16))


@pytest.fixture(scope="module")
def room() -> Generator[Sandbox]:
    with sandbox() as opened:
        yield opened


def test_there_are_eight_of_them():
    assert [f"BP{number:03d}" for number in range(43, 51)] == ADVERSARIAL


@pytest.mark.parametrize("blueprint_id", ADVERSARIAL)
def test_none_is_built_counted_or_offered_here(blueprint_id: str):
    for refused in (build, parameter_count):
        arguments = (blueprint_id, {}, WHERE, 0) if refused is build else (blueprint_id, {}, WHERE)
        with pytest.raises(SandboxOnly, match=f"{blueprint_id} .* is adversarial"):
            refused(*arguments)
    assert blueprint_id not in {offer.blueprint_id for offer in candidates(SITE, WHERE)}


def test_their_code_cannot_be_imported_here():
    with pytest.raises(ImportError, match="only the sandbox's process"):
        import esper.karn.sandbox.harmful  # noqa: F401


@pytest.mark.slow
def test_nor_in_a_program_of_the_users():
    program = "import esper.karn.sandbox.harmful"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "only the sandbox's process" in done.stderr


@pytest.mark.parametrize(
    ("blueprint_id", "hazard"),
    [
        ("BP043", "explode"),
        ("BP044", "vanish"),
        ("BP045", "nonfinite"),
        ("BP047", "leak"),
        ("BP049", "nondeterminism"),
        ("BP050", "sensitivity"),
    ],
)
def test_each_is_known_by_its_harm(room: Sandbox, blueprint_id: str, hazard: str):
    found = room.examine(blueprint_id, WHERE, limit_s=60.0)
    assert found.ended == ""
    assert hazard in found.hazards


@pytest.mark.parametrize("blueprint_id", ["BP046", "BP048"])
def test_what_never_ends_is_killed_within_its_limit_and_two_seconds(room: Sandbox, blueprint_id: str):
    iterations = {"iterations": 10_000.0} if blueprint_id == "BP046" else {}
    found = room.examine(blueprint_id, WHERE, iterations, limit_s=1.0)
    assert found.hazards == {"hang"}
    # BP046 would take a hundred seconds, BP048 ten minutes.
    assert found.seconds < 3.0


def test_the_next_one_is_examined_as_if_nothing_had_been(room: Sandbox):
    for blueprint_id in ("BP001", "BP002"):
        assert room.examine(blueprint_id, WHERE, limit_s=60.0).hazards == frozenset()


@pytest.mark.slow
@pytest.mark.parametrize("blueprint_id", [name for name, row in CATALOGUE.items() if not row.quarantine_only])
def test_nothing_that_can_be_grown_is_found_harmful(room: Sandbox, blueprint_id: str):
    where = shape((16, 8, 8)) if blueprint_id == "BP033" else WHERE
    assert room.examine(blueprint_id, where, limit_s=120.0).hazards == frozenset()


def test_a_leak_gets_no_more_memory_than_was_granted(room: Sandbox):
    found = room.examine("BP047", WHERE, {"growth_rate": 5.0}, memory_mib=64, limit_s=60.0)
    assert found.ended == "memory"


def test_parameters_are_checked_before_anything_is_run(room: Sandbox):
    with pytest.raises(ParameterRefused, match="between 5 and 20"):
        room.examine("BP043", WHERE, {"scale": 100.0})


def test_a_closed_sandbox_says_so():
    with sandbox() as opened:
        pass
    with pytest.raises((SandboxDied, ValueError)):
        opened.examine("BP001", WHERE)
