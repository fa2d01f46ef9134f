"""Google Drive as a folder: what was written under the mount point comes back when it is mounted again."""

import shutil
from pathlib import Path

_mounted: Path | None = None


def _elsewhere(mountpoint: Path) -> Path:
    return mountpoint.parent / f"{mountpoint.name}-kept"


def mount(mountpoint: str, force_remount: bool = False) -> None:
    global _mounted
    if _mounted and not force_remount:
        print(f"Drive already mounted at {mountpoint}.")
        return
    _mounted = Path(mountpoint)
    if _elsewhere(_mounted).exists():
        shutil.move(_elsewhere(_mounted), _mounted)
    (_mounted / "MyDrive").mkdir(parents=True, exist_ok=True)
    print(f"Mounted at {mountpoint}")


def flush_and_unmount() -> None:
    global _mounted
    if _mounted is None:
        raise ValueError("drive is not mounted")
    shutil.move(_mounted, _elsewhere(_mounted))
    _mounted = None
