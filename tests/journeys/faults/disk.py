"""A small disk of one's own: an ext4 file system in a file."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest


@cache
def why_no_disk() -> str:
    """Return why file systems cannot be mounted here, or nothing."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(create(Path(folder) / "probe.img", 16), Path(folder) / "probe"):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return f"loop mounts are not allowed here: {error}"


def require_disk() -> None:
    """Skip the test, with the reason, where file systems cannot be mounted."""
    if reason := why_no_disk():
        pytest.skip(reason)


def create(image: Path, size_mib: int) -> Path:
    """Return *image*, a fresh ext4 file system of *size_mib*."""
    with image.open("wb") as file:
        file.truncate(size_mib * 1024 * 1024)
    _run("mkfs.ext4", "-q", "-F", str(image))
    return image


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """Mount *image* at *place* for the block's time."""
    place.mkdir(parents=True, exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        _run("umount", "-l", str(place))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
