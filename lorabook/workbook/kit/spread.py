"""Several values as one text: their mean, give or take."""

from collections.abc import Sequence
from statistics import fmean


def spread(values: Sequence[float], digits: int = 2) -> str:
    """A mean with the distance to the value farthest from it: "2.93 ± 0.01"."""
    mean = fmean(values)
    return f"{mean:.{digits}f} ± {max(abs(value - mean) for value in values):.{digits}f}"
