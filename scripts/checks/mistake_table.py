"""Print the mistake bank as a Markdown table: exercise, wrong answer, and what the learner is told.

python -m scripts.checks.mistake_table
"""

from lorabook.workbook.exercises import EXERCISES
from lorabook.workbook.kit.exercise import judge
from tests.workbook.mistake_bank import whole_bank


def main() -> None:
    print("| exercise | wrong answer | message |\n|---|---|---|")
    for wrong in whole_bank():
        message = judge(EXERCISES[wrong.exercise], wrong.answer).removeprefix(f"✗ {wrong.exercise}: ")
        print(f"| {wrong.exercise} | {wrong.label} | {message.replace('|', chr(92) + '|')} |")


if __name__ == "__main__":
    main()
