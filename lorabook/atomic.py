"""Files that are there whole or not at all, whoever else writes."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lorabook.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor


@contextlib.contextmanager
def only_writer(folder: str | Path, wait: float = 0) -> Iterator[None]:
    """Within the block no other process of this machine is in such a block for `folder`.

    The lock is a file in the system's temporary folder, so that a drive without locks will do for `folder`. It goes
    with the process that holds it, however that ends. Where no lock can be had, the block runs without one.

    Raises:
        SettingError: another process is in such a block, and still is after `wait` seconds.
    """
    from filelock import FileLock, Timeout

    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, NotImplementedError):
            place = hashlib.sha256(os.fsencode(Path(folder).resolve())).hexdigest()[:16]
            file = Path(tempfile.gettempdir()) / f"lorabook-{place}.lock"
            lock = FileLock(file, thread_local=False, is_singleton=True)
            try:
                held.enter_context(lock.acquire(timeout=wait))
            except Timeout:
                raise SettingError(
                    f"Another run is writing to {folder}.", "Wait until it ends, or give another output folder."
                ) from None
        yield


def write_tensors(path: str | Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with the permissions that any new file gets here; safetensors gives its owner's only.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.touch()
    mode = path.stat().st_mode
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, metadata=metadata)
    path.chmod(mode)


def usual_permissions(folder: str | Path) -> None:
    """Give the safetensors files that `save_pretrained` wrote the permissions that its config.json got."""
    mode = (Path(folder) / "config.json").stat().st_mode
    for path in Path(folder).glob("*.safetensors"):
        path.chmod(mode)


def sync(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs no read-only file
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whose folder is made: under another name first, then renamed over what was there.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
