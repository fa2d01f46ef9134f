"""A habit that fades in: what the pocket model writes with its LoRA update multiplied by 0 to 4.

    python -m scripts.assets.fading     four minutes on a core

LoRA of rank 4 on all linear layers is trained to write docstrings, exactly as in notebook 01: the same A at the start,
and 60 steps of AdamW at 5e-3, each on 8 examples of 128 tokens. Then, for every factor, 44 completions are sampled with
one seed, and the functions that begin with a docstring are counted. The completions of SHOWN, in which the habit can be
seen, are kept as text.

Writes lorabook/assets/results/from_scratch/fading.json.
"""

import re
from pathlib import Path

import torch
import torch.nn.functional as F

from lorabook import LoRAConfig, apply_lora, lora_layers
from lorabook.models.load import load_model
from lorabook.workbook.kit.styles import DOCSTRINGS, completions, examples
from scripts.assets import records

RESULT = Path("lorabook/assets/results/from_scratch/fading.json")
R, ALPHA, LR, STEPS, BATCH, HELD_OUT = 4, 8, 5e-3, 60, 8, 32
TENTHS = range(0, 41, 2)  # the factors, in tenths
EACH, NEW_TOKENS, SHOWN = 4, 50, (3, 8, 36)  # completions a prompt, their tokens, and which of them are kept


FUNCTION = re.compile(r"def \w+\([^)]*\)[^:\n]*:\s*(\S+)")  # as in the notebook: a header, the first word of the body


def counted(texts: list[str]) -> tuple[int, int]:
    """Functions that begin with a docstring, and all whose body has begun."""
    words = [word for text in texts for word in FUNCTION.findall(text)]
    return sum(word.startswith('"""') for word in words), len(words)


def main() -> None:
    torch.manual_seed(0)
    loaded = load_model("pocket", device="cpu")
    model, tokenizer = loaded.model, loaded.tokenizer
    ids = torch.tensor([example.input_ids for example in examples(DOCSTRINGS, tokenizer)])
    ids = ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))][HELD_OUT:]
    apply_lora(model, LoRAConfig(R, ALPHA, targets=("all-linear",)))
    layers = [layer for _, layer in lora_layers(model)]
    for layer in layers:
        layer.A.data = torch.randn(layer.A.shape) / layer.A.shape[1] ** 0.5
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LR)
    for step in range(STEPS):
        batch = ids[BATCH * step : BATCH * (step + 1)]
        logits = model(input_ids=batch[:, :-1]).logits
        F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    counts, texts = [], []
    for tenths in TENTHS:
        for layer in layers:
            layer.scaling = tenths / 10 * ALPHA / R
        written = completions(model, tokenizer, each=EACH, new_tokens=NEW_TOKENS, seed=0)
        counts.append(counted(written))
        texts.append([written[i].removeprefix("import os\n\n\n") for i in SHOWN])
        print(tenths / 10, counts[-1], flush=True)
    found = {
        "r": R,
        "alpha": ALPHA,
        "lr": LR,
        "steps": STEPS,
        "completions": EACH * 11,
        "counts": counts,
        "texts": texts,
    }
    print(f"{RESULT}: {records.write(RESULT, 'scripts/assets/fading.py', found):,} bytes")


if __name__ == "__main__":
    main()
