"""Run tests on broken copies of the library, quickly: every run is forked from a process that has imported PyTorch.

A worker has a copy of the project in a temporary folder, writes the broken module into it, and forks a child that
imports lorabook from there and runs pytest. The shared tree is never touched. POSIX only.

Before the mutants every test file is run once on the sound copy: all must pass, and what each test costs and which
functions it calls decide the order in which mutants meet them. A mutant meets the tests of its file (`tests_of`), those
that call the broken function before the others, and stops at the first that fails. If it lives, it may meet every other
test file that has a test which calls the function, slow tests left out.

Why our own: mutmut 3.8 forks too, is as fast (4.1 mutants a second on step/config.py, here 3.5, on two busy cores) and
chooses tests by the functions they call. But it changes functions alone, and none with a decorator other than
staticmethod or classmethod, which leaves out a ninth of our mutants: in `LoRAConfig.scaling`, in `merge`, in the
backward pass of the loss. It runs no mutants written by hand and draws no sample. Cosmic Ray 8.7 starts a Python that
imports PyTorch for every mutant, 13 seconds each, and breaks the files in place: stopped midway, it left one broken.
"""

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lorabook", "tests", "scripts", "benchmarks", "notebooks")
NAMED = "not browser and not hub"  # which tests of the files that a job names, and which of the others
QUICK = f"not slow and {NAMED}"
NOT_TESTED = "not tested"
# The tests of a file that do not bear its name.
MORE_TESTS = {
    "lora.py": ("test_adaptable.py", "test_merging.py", "test_adapters.py"),
    "lora_config.py": ("test_lora.py",),
    "merging.py": ("test_adapters.py",),
    "adapters.py": ("test_mixed_batch.py",),
    "atomic.py": ("training/test_checkpoint.py",),
    "data/examples.py": ("data/test_chat_template.py", "data/test_own_rows.py", "training/test_answers.py"),
    "data/batches.py": ("step/test_loss.py",),
    "data/stackoverflow.py": ("data/test_sources.py",),
    "memory/dry_run.py": ("memory/test_estimate.py",),
    "peft_format/adapter_config.py": ("peft_format/test_adapter_file.py", "peft_format/test_adapter_refusals.py"),
    "peft_format/adapter_file.py": (
        "peft_format/test_adapter_refusals.py",
        "peft_format/test_exchange.py",
        "peft_format/test_interchange.py",
        "peft_format/test_limits.py",
        "models/test_quantized_files.py",
    ),
    "step/gradients.py": ("training/test_loop.py", "training/test_resume.py"),
    "step/optimizer.py": ("training/test_loop.py", "training/test_resume.py"),
    "subspace/fastfood.py": ("subspace/test_training.py",),
    "training/checkpoint.py": ("training/test_resume.py",),
    "training/loop.py": ("training/test_resume.py", "training/test_failures.py", "subspace/test_training.py"),
    "training/record.py": ("diagnosis/test_findings.py",),
}
GRACE = 30  # seconds a mutant may take beyond three times what its tests usually do
MEMORY = 8 * 2**30  # bytes a child may hold: a mutant can ask for any size
WARM = (
    "accelerate",
    "bs4",
    "datasets",
    "huggingface_hub",
    "hypothesis",
    "loralib",
    "peft",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.linalg",
    "torch._dynamo",
    "torch.utils.checkpoint",
    "torch.utils.flop_counter",
    "tqdm.auto",
    "transformers.masking_utils",
    "transformers.optimization",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.gpt_bigcode.modeling_gpt_bigcode",
    "transformers.models.llama.modeling_llama",
)


@dataclass(frozen=True)
class Job:
    """lorabook/`file` becomes `text`, which differs in the function that starts at `line` (0: somewhere, or nowhere).

    One of `tests` should notice; with `wider`, all others that call the function get their chance.
    """

    name: Any
    file: str
    text: str
    line: int
    tests: tuple[str, ...]
    wider: bool = True


@dataclass(frozen=True)
class Verdict:
    """`by`: the first test that failed, "time" where none had within its limit, or None: the mutant lives."""

    by: str | None
    seconds: float


@dataclass
class Known:
    """What the sound runs tell: by test its seconds and the functions (file, line) of lorabook that it calls."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, set[tuple[str, int]]] = field(default_factory=dict)

    def cost(self, file: str) -> float:
        return sum(seconds for test, seconds in self.seconds.items() if test.split("::")[0] == f"tests/{file}")

    def touches(self, test: str, job: Job) -> bool:
        return any(file == job.file and job.line in (0, line) for file, line in self.calls.get(test, ()))


class _Watch:
    """A pytest plugin: times every test, notes the functions it calls, and the first that fails."""

    def __init__(self, package: Path):
        self.package, self.failed, self.seconds, self.calls = f"{package}{os.sep}", None, {}, {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        seen: set[tuple[str, int]] = set()

        def note(frame, event, argument):
            name = frame.f_code.co_filename
            if name.startswith(self.package):
                seen.add((name[len(self.package) :], frame.f_code.co_firstlineno))

        began, before = time.monotonic(), sys.gettrace()
        sys.settrace(note)
        try:
            return (yield)
        finally:
            sys.settrace(before)
            self.seconds[item.nodeid] = time.monotonic() - began
            self.calls[item.nodeid] = sorted(seen)


class _Order:
    """A pytest plugin: tests that call the broken function first, the quickest of them before the others."""

    def __init__(self, known: Known, job: Job):
        self.known, self.job, self.failed = known, job, None

    def pytest_collection_modifyitems(self, items):
        def place(item):
            seconds = self.known.seconds.get(item.nodeid, 0.0)
            return not self.known.touches(item.nodeid, self.job), seconds

        items.sort(key=place)

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid


def warm() -> None:
    """Import what tests need beside lorabook, so that forked children need not. One thread: forks lose the others."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "LORABOOK_MODEL": "pocket"}
    sys.dont_write_bytecode = True  # a mutant as long as the one before it, made in the same second, would look cached
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of notebooks and browsers take longer than most tests
    for name in WARM:
        importlib.import_module(name)
    gc.freeze()  # or each child walks all of PyTorch's objects whenever pytest collects garbage: most of its time


def tests_of(file: str) -> tuple[str, ...]:
    """The tests of lorabook/`file`: tests/ROOM/test_NAME*.py, all of the room where there is none, and MORE_TESTS."""
    place = Path(file)
    own = list((ROOT / "tests" / place.parent).glob(f"test_{place.stem}*.py"))
    own = own or list((ROOT / "tests" / place.parent).glob("test_*.py"))
    names = {str(path.relative_to(ROOT / "tests")) for path in own}
    return tuple(sorted(names | {*MORE_TESTS.get(file, ())}))


def copy_project(folder: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    shutil.rmtree(folder / "notebooks" / "runs", ignore_errors=True)  # what a reader's own runs left
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, folder)


class _Worker:
    """One process with a copy of the project, which runs one test process at a time."""

    def __init__(self, folder: Path, known: Known):
        self.folder, self.known = folder / str(os.getpid()), known
        copy_project(self.folder)

    def sound(self, file: str, markers: str) -> tuple[str, dict]:
        """The tests of `file` on the copy as it is: seconds and calls by test, or under "failed" what went wrong."""
        for _ in range(2):  # a test of times can fail on a busy machine; not twice
            found = self._pytest([file], markers, _Watch(self.folder / "lorabook"), 900)
            if not found["failed"]:
                break
            found["output"] = (self.folder / "output.txt").read_text(errors="replace")[-3000:]
        return file, found

    def verdict(self, job: Job) -> tuple[Job, Verdict]:
        path, began = self.folder / "lorabook" / job.file, time.monotonic()
        sound = path.read_text(encoding="utf-8")
        path.write_text(job.text, encoding="utf-8")
        touching = (test for test in self.known.calls if job.wider and self.known.touches(test, job))
        wider = sorted({test.split("::")[0].removeprefix("tests/") for test in touching} - {*job.tests})
        try:
            for files, markers in ((job.tests, NAMED), (wider, QUICK)):
                limit = GRACE + 3 * sum(map(self.known.cost, files))
                if files and (by := self._pytest(files, markers, _Order(self.known, job), limit)["failed"]):
                    return job, Verdict(by, time.monotonic() - began)
        finally:
            path.write_text(sound, encoding="utf-8")
        return job, Verdict(None, time.monotonic() - began)

    def _pytest(self, files: Sequence[str], markers: str, plugin: Any, limit: float) -> dict:
        """What `plugin` saw in a forked pytest that has `limit` seconds of a processor, and may sleep twice as long."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            _child(self.folder, files, markers, plugin, int(limit), report)
        ends, done = time.monotonic() + 2 * limit, 0
        while not done and (time.monotonic() < ends or _wants_a_processor(child)):
            time.sleep(0.02)
            done, status = os.waitpid(child, os.WNOHANG)
        with contextlib.suppress(ProcessLookupError):  # whatever it has started, too
            os.killpg(child, signal.SIGKILL)
        if not done:
            os.waitpid(child, 0)
        elif report.exists():
            found = json.loads(report.read_text())
            if str(found["failed"]).startswith(NOT_TESTED):
                raise RuntimeError(found["failed"])
            return found
        elif not (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
            return {"failed": f"the process ended with status {status}"}
        return {"failed": "time"}


def _wants_a_processor(child: int) -> bool:
    """Whether it would go on if the machine were less busy, as far as Linux tells; its own limit ends it then."""
    try:
        return any(" R " in stat.read_text() for stat in Path(f"/proc/{child}/task").glob("*/stat"))
    except OSError:
        return False


def _child(folder: Path, files: Sequence[str], markers: str, plugin: Any, limit: int, report: Path) -> None:
    """In the forked child: run pytest on the copy in `folder`, write what `plugin` saw, and leave."""
    try:
        os.setpgid(0, 0)
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder)
        sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin", "-m", markers]
        options.append(f"--basetemp={folder / 'tmp'}")
        code = pytest.main([*options, *(f"tests/{name}" for name in files)], plugins=[plugin])
        package = sys.modules.get("lorabook")
        if package and not str(package.__file__).startswith(str(folder)):
            plugin.failed = f"{NOT_TESTED}: lorabook came from {package.__file__}"
        elif code == pytest.ExitCode.USAGE_ERROR:
            plugin.failed = f"{NOT_TESTED}: {(folder / 'output.txt').read_text()[-1000:]}"
        elif code not in (0, 5) and not plugin.failed:  # 5: the markers leave no test of these files
            plugin.failed = f"pytest's exit status {int(code)}"
    except BaseException as error:  # a mutant that ends the process
        plugin.failed = plugin.failed or f"{type(error).__name__}: {error}"
    finally:
        report.write_text(json.dumps({k: v for k, v in vars(plugin).items() if k in ("failed", "seconds", "calls")}))
        sys.stdout.flush()
        os._exit(0)


_worker: _Worker


def _start(folder: Path, known: Known) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the process that gives out the work, and that ends them
    _worker = _Worker(folder, known)


def _sound(file_and_markers: tuple[str, str]) -> tuple[str, dict]:
    return _worker.sound(*file_and_markers)


def _verdict(job: Job) -> tuple[Job, Verdict]:
    return _worker.verdict(job)


def survey(named: Iterable[str], workers: int, wider: Iterable[str] = ()) -> Known:
    """Run the tests of the files that jobs name, and the quick ones of `wider`, on a sound copy.

    Raises SystemExit if a test fails without any mutant.
    """
    known, markers = Known(), dict.fromkeys(wider, QUICK) | dict.fromkeys(named, NAMED)
    largest_first = sorted(markers.items(), key=lambda item: -(ROOT / "tests" / item[0]).stat().st_size)
    with _folder() as folder, _pool(workers, folder, known) as pool:
        for file, found in _as_they_come(pool, _sound, largest_first):
            if found["failed"]:
                raise SystemExit(f"{file} fails without any mutant: {found['failed']}\n{found.get('output', '')}")
            known.seconds |= found["seconds"]
            known.calls |= {test: {(f, line) for f, line in calls} for test, calls in found["calls"].items()}
    return known


def judge(jobs: Sequence[Job], known: Known, workers: int) -> Iterator[tuple[Job, Verdict]]:
    """Every job with its verdict, as they come; `known` is the survey of the test files that may meet them."""
    with _folder() as folder, _pool(workers, folder, known) as pool:
        yield from _as_they_come(pool, _verdict, jobs)


def _folder() -> tempfile.TemporaryDirectory:
    # a child that was ended while it wrote may have left a file behind: no reason to hide what ended it
    return tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True)


def _pool(workers: int, folder: str, known: Known) -> ProcessPoolExecutor:
    # not multiprocessing.Pool: its workers are daemons, whose children may not start the processes that some tests do
    return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start, (Path(folder).resolve(), known))


def _as_they_come(pool: ProcessPoolExecutor, function: Callable, arguments: Iterable) -> Iterator:
    waiting = [pool.submit(function, argument) for argument in arguments]
    try:
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
