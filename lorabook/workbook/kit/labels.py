"""Labels beside a scale, moved apart where they would collide."""

from collections.abc import Sequence

LINE = 0.052  # the height of a line of small text, as a fraction of the height between an explorer's spines


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart between `low` and `high`, as near to `wanted` (ascending) as that allows.

    Least squares: labels that would collide form a block, whose middle is the mean of what its members want (the
    pool-adjacent-violators algorithm on wanted[i] - i gap).
    """
    blocks: list[tuple[float, int]] = []
    for i, place in enumerate(wanted):
        total, count = place - i * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            total, count = total + blocks[-1][0], count + blocks[-1][1]
            blocks.pop()
        blocks.append((total, count))
    last = high - (len(wanted) - 1) * gap
    starts = [max(low, min(total / count, last)) for total, count in blocks for _ in range(count)]
    return [start + i * gap for i, start in enumerate(starts)]
