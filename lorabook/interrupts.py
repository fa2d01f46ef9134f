"""Ctrl-C at a moment that suits the work: a run that is ended early loses nothing, an import is not cut off."""

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


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C waits until the block has ended: for imports, since Python cannot take up one that was cut off.

    Signals reach the main thread only.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda signum, frame: pressed.append(signum))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pressed:
        signal.raise_signal(signal.SIGINT)
