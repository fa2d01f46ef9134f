"""The rank up to which LoRA is no larger than the matrix it updates."""

from lorabook.errors import SettingError, is_whole


def break_even_rank(d: int, k: int) -> int:
    """d k // (d + k), the largest rank r at which LoRA trains no more parameters than the matrix has: r (d + k) <= d k.

    For a square matrix that is d // 2. It is 0 where even rank 1 trains more than the matrix has.

    Raises:
        SettingError: d or k is not a whole number of at least 1.
    """
    for name, value in (("d", d), ("k", k)):
        if not is_whole(value, 1):
            raise SettingError(f"{name} is {value!r}.", "Give a whole number at least 1.")
    return d * k // (d + k)
