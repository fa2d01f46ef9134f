"""SmolLM2's stored answers in its chat format: to the questions that `smollm2_run.json` asks in plain text."""

from lorabook.training.answers import Answer, AnswerQuality
from lorabook.workbook.kit.stored import stored
from tests.kit.notebooks import MORE_FINETUNE, table

CHAT, PLAIN = stored("final_run", "smollm2_chat"), stored("final_run", "smollm2_run")


def test_the_questions_the_weights_and_the_limit_are_those_of_the_plain_run():
    assert CHAT["script"] == "scripts/assets/smollm2_chat.py"
    assert (CHAT["model"], CHAT["weights"]) == (PLAIN["model"], PLAIN["weights"])
    assert [a["question_id"] for a in CHAT["answers"]] == [a["question_id"] for a in PLAIN["answers"]]
    for answer in CHAT["answers"]:
        assert answer["ended"] or answer["tokens"] == PLAIN["new_tokens"]


def test_the_stored_part_can_be_of_the_whole():
    part = AnswerQuality.of([Answer(a["text"], a["tokens"], a["ended"]) for a in CHAT["answers"]])
    whole = CHAT["quality"]
    assert whole["answers"] == PLAIN["base"]["quality"]["answers"] == 100
    for name in ("ended", "code"):
        assert round(getattr(part, name) * part.answers) <= round(whole[name] * whole["answers"])


def test_the_page_says_what_is_stored():
    qualities = [PLAIN["base"]["quality"], *(run["quality"] for run in PLAIN["runs"])]
    losses = [PLAIN["base"]["loss"], *(run["held_out"][-1][1] for run in PLAIN["runs"])]
    rows = {
        "held-out loss, in nats": [f"{loss:.2f}" for loss in losses],
        "answers that end within 256 tokens": [f"{quality['ended']:.0%}" for quality in qualities],
        "answers with valid code": [f"{quality['code']:.0%}" for quality in qualities],
    }
    chat = {
        "answers that end within 256 tokens": f"{CHAT['quality']['ended']:.0%}",
        "answers with valid code": f"{CHAT['quality']['code']:.0%}",
    }
    assert table(MORE_FINETUNE, "SmolLM2 before and after") == [
        [name, before, chat.get(name, "–"), ", ".join(after)] for name, (before, *after) in rows.items()
    ]
