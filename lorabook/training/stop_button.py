"""A way to end a run early that loses nothing."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def stop_button() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or SIGTERM, with which systems end a job; a second one interrupts at once.

    Signals reach the main thread only.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    at_once = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    previous = {number: signal.getsignal(number) for number in at_once}

    def press(signum: int, frame: Any) -> None:
        pressed.set()
        for number, handler in at_once.items():
            signal.signal(number, handler)

    for number in at_once:
        signal.signal(number, press)
    try:
        yield pressed
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
