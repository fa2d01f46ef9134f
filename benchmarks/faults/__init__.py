"""Faults put in on purpose, one module a family. The toys they train are those of the tests."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in ("tests", "scripts"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))
