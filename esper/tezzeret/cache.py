"""What the compiler keeps between kernels, kept free of files that a killed compiler left half written."""

from pathlib import Path

_MARK = "unfinished"


class CompilerCache:
    """A folder of compiled code. Between `begin` and `keep`, what is written to it is not yet trusted.

    The C++ compiler writes its output in place, and Inductor takes a file that is there for a file that is whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._mark = folder, folder / _MARK
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self) -> None:
        """Distrust whatever is written from now on."""
        self._mark.touch()

    def keep(self) -> None:
        """Trust what was written since `begin`: its writer ended well."""
        self._mark.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what was written since a `begin` that no `keep` followed, in this process or in one that died."""
        if not self._mark.exists():
            return
        since_ns = self._mark.stat().st_mtime_ns
        for path in self._folder.rglob("*"):
            if path != self._mark and path.is_file() and path.stat().st_mtime_ns >= since_ns:
                path.unlink()
        self._mark.unlink()
