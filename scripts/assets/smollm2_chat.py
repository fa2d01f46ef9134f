"""How SmolLM2-135M-Instruct answers without fine-tuning, in the chat format that it was trained for, on a CPU.

    python -m scripts.assets.smollm2_chat --data FILE        ten minutes on two cores

The same file, test questions and settings as in `smollm2_run.py`, which asks in plain text. The loss is that of the
posts' answers after the chat format's prompt. Of the posts, titles and question ids are stored, nothing else. Writes
lorabook/assets/results/final_run/smollm2_chat.json.
"""

import argparse
import os
import platform
from dataclasses import asdict
from pathlib import Path

from lorabook.data.examples import encode_all
from lorabook.models.load import load_model
from lorabook.training.answers import AnswerQuality, answers
from lorabook.training.evaluate import answer_loss
from scripts.assets import records
from scripts.assets.smollm2_run import MAX_LENGTH, NEW_TOKENS, shown, splits

RESULT = Path("lorabook/assets/results/final_run/smollm2_chat.json")


def main(data: str) -> None:
    _, _, test = splits(data)
    loaded = load_model("smollm2", device="cpu")
    held = encode_all(test, loaded.tokenizer, MAX_LENGTH, chat_template=True)
    loss = answer_loss(loaded.model, held).loss
    written = answers(loaded.model, loaded.tokenizer, test, NEW_TOKENS, chat_template=True)
    facts = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "weights": loaded.revision,
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, fp32",
        "loss": loss,
        "quality": asdict(AnswerQuality.of(written)),
        "answers": [
            {"question_id": pair.question_id, "title": pair.title} | asdict(written[test.index(pair)])
            for pair in shown(test)
        ],
    }
    print(f"{records.write(RESULT, 'scripts/assets/smollm2_chat.py', facts):,} bytes in {RESULT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    main(parser.parse_args().data)
