"""Bytes in the unit that suits them."""

UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def unit_of(size: float) -> tuple[int, str]:
    """The largest unit that `size` bytes fill, in bytes and by its name; KiB for less than one."""
    return next((unit for unit in UNITS if size >= unit[0]), UNITS[-1])


def size_text(size: float) -> str:
    """Bytes in the unit that suits them, with three digits: 1.05 GiB, 14.8 GiB, 212 GiB, 64.0 MiB."""
    unit, name = unit_of(size / 0.9995)
    value = size / unit
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {name}"
