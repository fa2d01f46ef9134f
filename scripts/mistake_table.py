"""Print the mistake bank as a Markdown table: exercise, wrong answer, and what the learner is told.

python scripts/mistake_table.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from mistake_bank import whole_bank

from lorabook.workbook.exercises import EXERCISES
from lorabook.workbook.exercises.engine import judge


def main() -> None:
    print("| exercise | wrong answer | message |\n|---|---|---|")
    for wrong in whole_bank():
        message = judge(EXERCISES[wrong.exercise], wrong.answer).removeprefix(f"✗ {wrong.exercise}: ")
        print(f"| {wrong.exercise} | {wrong.label} | {message.replace('|', chr(92) + '|')} |")


if __name__ == "__main__":
    main()
