"""What the Rank explorer shows of every matrix at every rank: `assets/results/low_rank/explorer_data.json`.

    python -m scripts.assets.rank_explorer

Some seconds. It follows from the pocket model and from what `scripts/assets/delta_w.py` stored.
"""

from pathlib import Path

import lorabook
from lorabook.workbook.low_rank.explorer import explorer_data
from scripts.assets import records

RESULT = Path(lorabook.__file__).parent / "assets" / "results" / "low_rank" / "explorer_data.json"

if __name__ == "__main__":
    size = records.write(RESULT, "scripts/assets/rank_explorer.py", {"data": explorer_data()})
    print(f"{RESULT.name}: {size:,} bytes")
