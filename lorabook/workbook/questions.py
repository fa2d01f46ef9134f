"""The questions of the notebooks, answered in code where there is no button to click: `predict`."""

from inspect import getmembers, isfunction
from typing import Any

from lorabook.errors import did_you_mean, shown
from lorabook.workbook.clinic import questions as clinic
from lorabook.workbook.fastfood import questions as fastfood
from lorabook.workbook.final_run import questions as final_run
from lorabook.workbook.intrinsic_dimension import questions as intrinsic_dimension
from lorabook.workbook.low_rank import questions as low_rank
from lorabook.workbook.many_tasks import questions as many_tasks
from lorabook.workbook.memory import questions as memory
from lorabook.workbook.rank_and_alpha import questions as rank_and_alpha
from lorabook.workbook.start import questions as start

ROOMS = (start, memory, rank_and_alpha, low_rank, intrinsic_dimension, fastfood, many_tasks, clinic, final_run)
QUESTIONS = {name: question for room in ROOMS for name, question in getmembers(room, isfunction)}


def predict(name: str, guess: Any = None) -> None:
    """Print whether `guess` answers the question `name`: a choice in words, or a number, `predict("toy", 10)`.

    Without a guess, the question is printed. A name or a guess that cannot be used is told, never raised.
    """
    if str(name) not in QUESTIONS:
        near = did_you_mean(str(name), QUESTIONS)
        print(f"There is no question {shown(name)}. {near}Choose among: {', '.join(QUESTIONS)}.")
        return
    question = QUESTIONS[name]()
    if guess is None or guess is ...:
        print(f"{name}: no guess yet. {question.question}  [{' | '.join(question.choices)}]")
    else:
        print(f"{name}: {question.judge(guess)}")
