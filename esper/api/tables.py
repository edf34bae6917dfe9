"""A table of a recorded run, in the form that a notebook works with."""

from importlib import import_module
from typing import Any

from esper.api.errors import PackageMissing
from eventstore.projection.frames import Frame, table


class RunTable:
    """Rows as they stood at `position`. `halted` says why they may be old; empty while the projections follow the log.

    `df()` needs pandas, `pl()` needs polars, and both need pyarrow: pip install 'esper-growth[notebook]'.
    """

    def __init__(self, frame: Frame) -> None:
        """Read the table that *frame* holds; use `RecordedRun.frame`."""
        self._table: Any = table(frame.arrow)
        self.position = frame.position
        self.halted = frame.halted.detail if frame.halted else ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(self._table.column_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        """Say how large it is and what it knows."""
        return (
            f"<{len(self)} rows x {len(self.columns)} columns at position {self.position}: {', '.join(self.columns)}>"
        )

    def arrow(self) -> Any:
        """Return it as a `pyarrow.Table`."""
        return self._table

    def df(self) -> Any:
        """Return it as a `pandas.DataFrame`.

        Raises:
            PackageMissing: pandas is not installed.
        """
        _needed("pandas")
        return self._table.to_pandas()

    def pl(self) -> Any:
        """Return it as a `polars.DataFrame`.

        Raises:
            PackageMissing: polars is not installed.
        """
        return _needed("polars").from_arrow(self._table)


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise PackageMissing(package) from error
