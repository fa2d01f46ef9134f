"""The C library's heap, for scripts that take times."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell glibc to give no freed memory back to the system. False where there is another allocator.

    Left to itself it gives a large block back when it is freed, and the page faults of getting it again cost about what
    computing its contents does: they would meet whoever allocates most, or runs first, and not twice alike.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
    return False
