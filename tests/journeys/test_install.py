"""`./justw` on a machine that has nothing yet, and on one that has everything."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT_FILES = ("justw", "justfile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
TOOLS = ("sh", "dirname", "cksum", "cat", "grep", "head", "mkdir", "rm", "mv", "env")


@pytest.fixture
def checkout(tmp_path):
    """A folder with the project's own files and nothing else."""
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def path_without_python(tmp_path_factory):
    """A PATH that holds the tools of any POSIX system, and no Python."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        (folder / tool).symlink_to(Path(shutil.which(tool) or tool).resolve())
    return str(folder)


def justw(folder, *arguments, path=os.environ["PATH"], timeout_s=60, **environment):
    """Run `./justw` in *folder* and return the finished process."""
    inherited = {name: value for name, value in os.environ.items() if name != "ESPER_PYTHON"}
    return subprocess.run(
        [folder / "justw", *arguments],
        cwd=folder,
        env={**inherited, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_without_a_new_python_it_says_which_one_it_needs(checkout, path_without_python):
    done = justw(checkout, "demo", path=path_without_python)
    assert done.returncode == 1
    assert "no Python 3.11 or newer on PATH" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_named_and_unfit_is_refused_by_name(checkout):
    done = justw(checkout, ESPER_PYTHON="/no/such/python")
    assert done.returncode == 1
    assert "ESPER_PYTHON=/no/such/python is not a Python 3.11 or newer" in done.stderr


def test_a_python_without_venv_is_told_what_to_install(checkout, tmp_path_factory):
    python = tmp_path_factory.mktemp("bin") / "python3"
    python.write_text('#!/bin/sh\ncase "$2" in "import venv") exit 1;; esac\nexit 0\n')
    python.chmod(0o755)
    done = justw(checkout, ESPER_PYTHON=str(python))
    assert done.returncode == 1
    assert "has no module 'venv'" in done.stderr
    assert "python3-venv" in done.stderr


def test_somebody_elses_broken_environment_is_left_alone(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "theirs").write_text("keep me")
    done = justw(checkout)
    assert done.returncode == 1
    assert "a .venv that justw did not make" in done.stderr
    assert (checkout / ".venv" / "theirs").read_text() == "keep me"


def test_once_set_up_it_lists_the_recipes_in_groups_within_a_second():
    if not (ROOT / ".venv" / "justw.stamp").is_file():
        pytest.skip("this environment was not made by justw")
    justw(ROOT, "--setup")
    started = time.monotonic()
    done = justw(ROOT)
    assert time.monotonic() - started < 1.0
    assert done.returncode == 0
    groups = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("[")]
    assert groups == ["[run]", "[debug]", "[check]", "[build]"]


@pytest.mark.slow
def test_an_interrupted_set_up_is_repaired(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True, timeout=60)
    with pytest.raises(subprocess.TimeoutExpired):
        justw(clone, "--setup", timeout_s=15)
    assert justw(clone, "--setup", timeout_s=900).returncode == 0
    assert justw(clone, "--setup", timeout_s=1).returncode == 0
    assert (clone / ".venv" / "bin" / "esper").exists()
