"""Fresh Python processes, forked from one that has PyTorch imported, which saves each of them three seconds.

    done = run("-m", "lorabook", "ask", question, env=environment)

is `subprocess.run([sys.executable, "-m", "lorabook", ...], capture_output=True, text=True)`, but for what is imported
already. Where a test is about the start of Python itself, it starts one with `subprocess`.
"""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Slow to import, and indifferent to the environment, which Hugging Face's libraries read as they are imported.
PRELOADED = [
    "bs4",
    "numpy",
    "pandas",
    "PIL.Image",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.optimize",
    "sympy",
    "tokenizers",
    "torch",
    "torch._dynamo",
    "torch._meta_registrations",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "torch.export",
]
# Windows has no fork: there, every process imports all of it.
SERVER: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
if hasattr(os, "fork"):
    SERVER.set_forkserver_preload(PRELOADED)


class Started:
    """A new Python that does `-m module ...` or `-c code ...`, and what tests ask of a process."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | str | None = None) -> None:
        self.arguments, self._folder = arguments, tempfile.TemporaryDirectory()
        self._files = [f"{self._folder.name}/{name}" for name in ("out", "err")]
        for file in self._files:
            Path(file).touch()
        self._out = open(self._files[0], encoding="utf-8")  # noqa: SIM115, it is read as long as the process writes
        environment = dict(os.environ if env is None else env)
        self._process = SERVER.Process(target=_become, args=(arguments, environment, cwd or os.getcwd(), self._files))
        self._process.start()

    def readline(self) -> str:
        """The next line that it writes; at its end, what is left."""
        line = ""
        while not line.endswith("\n"):
            over = self.poll() is not None
            line += (more := self._out.readline())
            if over and not more:
                break
            if not more:
                time.sleep(0.01)
        return line

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        assert self._process.pid
        os.kill(self._process.pid, signum)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Once it has ended, all that it wrote, or what follows the lines that were read, and its errors.

        Raises:
            subprocess.TimeoutExpired: it has not ended; it is killed.
        """
        self._process.join(timeout)
        with self._out:
            said = self._out.read(), Path(self._files[1]).read_text("utf-8")
        if self.poll() is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout, *said)
        return said


def run(*arguments: str, timeout: float = 300, **more: Any) -> subprocess.CompletedProcess[str]:
    """What a new Python did, and what it wrote; `more` is for `Started`."""
    started = Started(*arguments, **more)
    said = started.communicate(timeout)
    return subprocess.CompletedProcess(arguments, started.poll() or 0, *said)


def run_two(*arguments: str, timeout: float = 150, env: Mapping[str, str], **more: Any) -> str:
    """What two processes of one group wrote, as `torchrun --nproc-per-node 2` starts them, without the launcher.

    Raises:
        AssertionError: one of them failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    group |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    each = [dict(env) | group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    started = [Started(*arguments, env=variables, **more) for variables in each]
    said = [process.communicate(timeout) for process in started]
    assert [process.poll() for process in started] == [0, 0], "\n".join(out + errors for out, errors in said)[-6000:]
    return "".join(out for out, _ in said)


def _become(arguments: tuple[str, ...], environment: dict[str, str], folder: Path | str, files: list[str]) -> None:
    """In the new process: all that Python does at its start, then the module or the code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for i, file in enumerate((os.devnull, *files)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), i)
    how, what, *rest = arguments
    sys.argv = [how, *rest]
    sys.path[:0] = ["", *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
