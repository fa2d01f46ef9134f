"""A limit to how long a block of code may run."""

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Iterator


class TimeIsUp(Exception):
    """The block ran longer than it may."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop the block after `seconds` as Ctrl-C would, wherever Python code is run. Only the main thread can be stopped.

    Raises:
        TimeIsUp: the block was stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    up = threading.Event()

    def stop() -> None:
        up.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:  # as in a program that a script started in the background: it could not be stopped
        signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        yield
        timer.cancel()
        if up.is_set():  # at the last moment: the interrupt is on its way
            time.sleep(0.1)
    except KeyboardInterrupt:
        if up.is_set():
            raise TimeIsUp from None
        raise
    finally:
        timer.cancel()
        if before == signal.SIG_IGN:
            signal.signal(signal.SIGINT, before)
