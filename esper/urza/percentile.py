"""Percentiles of measured samples."""

from collections.abc import Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the value at (n - 1) * *share* in order of size, interpolated; as DuckDB's quantile_cont does.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples, so no percentile")
    ordered = sorted(samples)
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
