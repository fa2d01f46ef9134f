"""The intrinsic dimension of a task: the smallest subspace in which training reaches 90% of what full training does.

Measured as in Li et al. 2018 (arXiv 1804.08838): train in random subspaces of growing dimension d, compare each with
the full model, and take the smallest d on or above the line. What counts is the share recovered,

    share(d) = (score(d) - start) / (full - start)

which is right for scores that rise and for losses that fall: give the score before any training as `start`. With
`start=0` and an accuracy it is the papers' "90% of the baseline", and with `full=1` as well their MNIST rule, an
accuracy of 0.90 whatever the network itself reaches.

Have d = D in the grid. Nothing is projected away there, so what d = D itself misses is due to the training recipe and
not to the dimension.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from lorabook.errors import SettingError


@dataclass(frozen=True)
class Point:
    """The scores reached at dimension d, one for each seed."""

    d: int
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.scores)


@dataclass(frozen=True)
class Curve:
    """Scores over d, in growing d, with what they are compared to. `line` is the share to reach, 0.9 for d90."""

    points: tuple[Point, ...]
    full: float
    start: float = 0.0
    line: float = 0.9

    def share(self, score: float) -> float:
        """(score - start) / (full - start)."""
        return (score - self.start) / (self.full - self.start)

    @property
    def shares(self) -> list[tuple[int, float]]:
        """(d, share recovered by the mean score over seeds)."""
        return [(p.d, self.share(p.mean)) for p in self.points]

    @property
    def d(self) -> int | None:
        """The intrinsic dimension: the smallest d measured whose share reaches the line, or None if none does."""
        return next((d for d, share in self.shares if share >= self.line), None)

    @property
    def d_by_seed(self) -> list[int | None]:
        """The same for each seed alone: how far the number can be trusted."""
        seeds = range(len(self.points[0].scores)) if self.points else ()
        return [next((p.d for p in self.points if self.share(p.scores[i]) >= self.line), None) for i in seeds]

    def to_json(self) -> dict:
        return asdict(self) | {"d": self.d, "d_by_seed": self.d_by_seed}


def log_grid(low: int, high: int, per_decade: int = 4) -> list[int]:
    """Whole numbers from `low` to `high`, both included, evenly spaced on a logarithmic axis, none twice.

    Raises:
        SettingError: not 1 <= low <= high, or no point in a decade.
    """
    if not 1 <= low <= high or per_decade < 1:
        raise SettingError(
            f"The grid runs from {low!r} to {high!r} with {per_decade!r} points in a decade.",
            "Give 1 <= low <= high and at least one point.",
        )
    steps = math.ceil(per_decade * math.log10(high / low) - 1e-9)
    return sorted({round(low * (high / low) ** (i / max(1, steps))) for i in range(steps + 1)})


def intrinsic_dimension(
    run: Callable[[int, int], float],
    full: float,
    grid: Iterable[int],
    *,
    start: float = 0.0,
    line: float = 0.9,
    seeds: Sequence[int] = (0,),
    stop: bool = False,
    refine: int = 0,
) -> Curve:
    """Measure a curve of scores over d. Its `d` is the intrinsic dimension.

    Args:
        run: run(d, seed) trains a fresh model in a subspace of dimension d and returns its score.
        full: the score of training every parameter.
        grid: the dimensions to try, for example `log_grid(10, 10_000)`.
        start: the score before training; 0 for an accuracy, the loss of the untrained model for a loss.
        line: the share of full - start to reach.
        seeds: each d is run once for every seed, and the mean counts.
        stop: leave out what lies above the first d that reaches the line.
        refine: how many times to halve, on a logarithmic axis, the gap below the first d that reaches the line.

    Raises:
        SettingError: an empty grid, no seed, d below 1, full = start, or a line out of (0, 1].
    """
    dimensions = sorted(set(grid))
    if not dimensions or dimensions[0] < 1 or not seeds:
        raise SettingError(f"The grid is {dimensions} with the seeds {list(seeds)}.", "Give d >= 1 and a seed or more.")
    if full == start or not math.isfinite(full - start):
        raise SettingError(f"Full training goes from {start} to {full}.", "Give two different, finite scores.")
    if not 0 < line <= 1:
        raise SettingError(f"The line is {line!r}.", "Give a share above 0 and at most 1, such as 0.9.")
    points: list[Point] = []

    def measure(d: int) -> Curve:
        points.append(Point(d, tuple(float(run(d, seed)) for seed in seeds)))
        return Curve(tuple(sorted(points, key=lambda p: p.d)), full, start, line)

    curve = Curve((), full, start, line)
    for d in dimensions:
        curve = measure(d)
        if stop and curve.d is not None:
            break
    for _ in range(refine):
        below = [p.d for p in curve.points if curve.d is not None and p.d < curve.d]
        middle = round(math.sqrt(below[-1] * curve.d)) if below and curve.d else 0
        if not below or middle in (below[-1], curve.d):
            break
        curve = measure(middle)
    return curve
