"""The stored runs of `scripts/assets/sweep_rank_alpha.py`, asked for by what they trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.rank_and_alpha.methods import Series

EVERYTHING, ALL_LINEAR, EMBEDDINGS = ("everything",), ("all-linear",), ("wte", "wpe")
SCALINGS = {"α = r": lambda r: 1.0, "α/√r, α = 4": lambda r: 4 / r**0.5, "α/r, α = 16": lambda r: 16 / r}
RANKS = (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class Setting:
    """What a training run of the pocket model is made with.

    `rows` is "real", "long" or "live"; `method` "lora", "full", "lora+embeddings" or "bottleneck"; `r` the rank or a
    bottleneck's width; of full fine-tuning r and scaling are None.
    """

    rows: str
    method: str
    targets: tuple[str, ...]
    r: int | None
    scaling: float | None
    lr: float
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Run(Setting):
    """A setting and what came of it.

    `base` and `loss` are held-out losses before and after, in nats per answer token; `source` the loss on held-out
    Python source after it; `curve` has (step, held-out loss, source loss) along the way.
    """

    trainable: int
    base: float
    loss: float
    source: float
    steps: int
    tokens: int
    step_peak_bytes: int
    cpu_seconds: float
    curve: tuple[tuple[int, float, float], ...] = ()


@dataclass(frozen=True)
class Tuned:
    """What one method reached at its best learning rate: a value for each seed."""

    lr: float
    trainable: int
    losses: tuple[float, ...]
    sources: tuple[float, ...]

    @property
    def loss(self) -> float:
        return fmean(self.losses)


@dataclass(frozen=True)
class Sweep:
    """All runs, and the loss of the untouched model on held-out Python source."""

    runs: tuple[Run, ...]
    source: float

    def of(self, rows: str = "real", **fields: object) -> list[Run]:
        """The runs on `rows` whose fields have the values given; `scaling` to three digits."""
        digits = {name: f"{v:.3g}" if isinstance(v, float) else v for name, v in fields.items()}

        def same(run: Run) -> bool:
            values = {name: getattr(run, name) for name in fields}
            return all((f"{v:.3g}" if isinstance(v, float) else v) == digits[name] for name, v in values.items())

        return [run for run in self.runs if run.rows == rows and same(run)]

    def lora(self, r: int, scaling: float = 1.0, targets: tuple[str, ...] = ALL_LINEAR) -> list[Run]:
        return self.of(method="lora", r=r, scaling=scaling, targets=targets)

    def full(self, targets: tuple[str, ...] = EVERYTHING) -> list[Run]:
        return self.of(method="full", targets=targets)

    def share(self, loss: float) -> float:
        """The part of full fine-tuning's fall, at its best rate and over its seeds, that a loss recovers."""
        full = tuned(self.full())
        base = self.full()[0].base
        return (base - loss) / (base - full.loss)


def by_rate(runs: Sequence[Run]) -> dict[float, float]:
    """Held-out loss of the first seed by learning rate, in growing rate."""
    first = min(run.seed for run in runs)
    return dict(sorted((run.lr, run.loss) for run in runs if run.seed == first))


def tuned(runs: Sequence[Run]) -> Tuned:
    """The rate with the first seed's least loss, and what every seed reached there."""
    losses = by_rate(runs)
    best = min(losses, key=lambda lr: losses[lr])
    there = sorted((run for run in runs if run.lr == best), key=lambda run: run.seed)
    return Tuned(best, there[0].trainable, tuple(r.loss for r in there), tuple(r.source for r in there))


@cache
def stored_sweep() -> Sweep:
    """The runs that ship with the book."""
    record = stored("rank_and_alpha", "rank_alpha")
    runs = tuple(
        Run(**run | {"targets": tuple(run["targets"]), "curve": tuple(map(tuple, run.get("curve", ())))})
        for run in record["runs"]
    )
    return Sweep(runs, record["source"])


def all_methods() -> dict[str, Series]:
    """Recovery over trained parameters of everything that was swept, at the best rate of each, by method."""
    sweep = stored_sweep()

    def series(runs: Sequence[list[Run]], names: tuple[str, ...] = ()) -> Series:
        found = [tuned(each) for each in runs]
        recoveries = tuple(tuple(sweep.share(loss) for loss in each.losses) for each in found)
        return Series(tuple(each.trainable for each in found), recoveries, names)

    points = stored("intrinsic_dimension", "subspace_curves")["pretrained"]["points"]
    subspace = tuple(tuple(sweep.share(loss) for loss in point["losses"]) for point in points)
    ranks = (1, 4, 16, 64)
    return {
        "random subspace": Series(tuple(point["d"] for point in points), subspace),
        "LoRA": series([sweep.lora(r, 4 / r**0.5) for r in ranks], ("r = 1", "4", "16", "64")),
        "bottleneck adapters": series([sweep.of(method="bottleneck", r=width) for width in ranks]),
        "linear layers alone": series([sweep.full(ALL_LINEAR)]),
        "embeddings alone": series([sweep.full(EMBEDDINGS)]),
        "every parameter": series([sweep.full()]),
    }
