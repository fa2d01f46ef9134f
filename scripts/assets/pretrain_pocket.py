"""Pre-train the pocket model: StarCoder's architecture at 3.9 M parameters, on Python source and documentation.

    python -m scripts.assets.pretrain_pocket --work build/pocket --tokens 32000000
    python -m scripts.assets.pretrain_pocket --work build/pocket --export lorabook/assets/pocket

Run it again after an interruption and it goes on from the last checkpoint in `--work`. The learning rate is warmed up,
held constant, and decayed to zero over the last fifth of `--tokens`, so a run may be lengthened or cut short while it
is in the constant part. Where the optimizer's state is missing the rate is warmed up once more.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM, PreTrainedTokenizerFast

from scripts.assets import pocket_corpus

BATCH_TOKENS = 4096
PEAK_LR, WARM_UP_STEPS, DECAY_SHARE = 2.5e-3, 200, 0.2
SHORT_SHARE = 0.6  # of the tokens, seen in windows of 256 (faster on a CPU); the rest in windows of 512
KEEP_EVERY = 500


def build_model(seed: int = 0) -> GPTBigCodeForCausalLM:
    torch.manual_seed(seed)
    config = GPTBigCodeConfig(
        vocab_size=pocket_corpus.VOCABULARY,
        n_positions=512,
        n_embd=256,
        n_layer=4,
        n_head=8,
        n_inner=1024,
        multi_query=True,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPTBigCodeForCausalLM(config)


def prepare(work: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """The two id streams and the list of sources; made once, then read from `work`."""
    if not (work / "corpus.json").exists():
        train, held, sources = pocket_corpus.documents()
        tokenizer = pocket_corpus.train_tokenizer(train[::3])
        tokenizer.save(str(work / "tokenizer.json"))
        np.save(work / "train.npy", pocket_corpus.encode(tokenizer, train))
        np.save(work / "held.npy", pocket_corpus.encode(tokenizer, held))
        info = {
            "sources": sources,
            "held_bytes": sum(len(t.encode()) for t in held),
            "train_bytes": sum(len(t.encode()) for t in train),
        }
        (work / "corpus.json").write_text(json.dumps(info, indent=1))
    return np.load(work / "train.npy"), np.load(work / "held.npy"), json.loads((work / "corpus.json").read_text())


def learning_rate(tokens: int, total: int, step_since_start: int) -> float:
    decay_from = (1 - DECAY_SHARE) * total
    decay = 1.0 if tokens < decay_from else max(0.0, (total - tokens) / (total - decay_from))
    return PEAK_LR * decay * min(1.0, (step_since_start + 1) / WARM_UP_STEPS)


def batch(stream: np.ndarray, order: np.ndarray, step: int, total: int) -> torch.Tensor:
    """Windows of the stream, each read once an epoch, in a fixed random order. (B, T + 1)"""
    chunks = [order[(step * 8 + i) % len(order)] for i in range(8)]  # eight chunks of 512, plus the next token
    rows = np.stack([stream[c * 512 : c * 512 + 513] for c in chunks]).astype(np.int64)
    if step * BATCH_TOKENS < SHORT_SHARE * total:
        rows = np.concatenate([rows[:, :257], rows[:, 256:]])
    return torch.from_numpy(rows)


@torch.no_grad()
def held_out_loss(model: GPTBigCodeForCausalLM, stream: np.ndarray, windows: int = 256) -> float:
    """Mean cross-entropy in nats a token over evenly spaced windows of 512."""
    starts = np.linspace(0, len(stream) - 514, windows).astype(int)
    total = 0.0
    for group in np.array_split(starts, windows // 8):
        rows = torch.from_numpy(np.stack([stream[s : s + 513] for s in group]).astype(np.int64))
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        total += F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
    return total / (windows * 512)


def trigram_loss(train: np.ndarray, held: np.ndarray, fit: int = 100_000) -> float:
    """Loss of an interpolated 3-gram (Jelinek-Mercer), weights fitted by EM on `fit` held-out tokens, on the rest."""
    t, h, size = train.astype(np.int64), held.astype(np.int64), pocket_corpus.VOCABULARY

    def table(keys: np.ndarray):
        values, counts = np.unique(keys, return_counts=True)

        def lookup(wanted: np.ndarray) -> np.ndarray:
            at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
            return np.where(values[at] == wanted, counts[at], 0)

        return lookup

    one, two = table(t), table(t[:-1] * size + t[1:])
    three = table((t[:-2] * size + t[1:-1]) * size + t[2:])
    a, b, c = h[:-2], h[1:-1], h[2:]
    ab, bc = two(a * size + b), two(b * size + c)
    p = np.stack(
        [
            np.full(len(c), 1 / size),
            one(c) / len(t),
            bc / np.maximum(one(b), 1),
            three((a * size + b) * size + c) / np.maximum(ab, 1),
        ]
    )
    weights = np.full(4, 0.25)
    for _ in range(50):
        joint = weights[:, None] * p[:, :fit]
        weights = (joint / joint.sum(0)).mean(1)
    return float(-np.log(weights @ p[:, fit:]).mean())


def optimizer_of(model: GPTBigCodeForCausalLM) -> torch.optim.AdamW:
    decayed = [p for p in model.parameters() if p.ndim == 2]
    other = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": other, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.95), fused=True)


def next_token_loss(model: GPTBigCodeForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.transformer(input_ids=rows[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden)
    return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def train_step(model, optimizer, rows: torch.Tensor, loss_of=next_token_loss) -> float:
    """One step on `rows` at the optimizer's present rate. Returns the loss before it."""
    loss = loss_of(model, rows)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def write_json(path: Path, value) -> None:
    path.with_suffix(".tmp").write_text(json.dumps(value, indent=1))
    path.with_suffix(".tmp").replace(path)


def save(work: Path, model, optimizer, step: int, log: list) -> None:
    """Weights, optimizer moments and step in one safetensors file, replaced atomically."""
    tensors = {f"model.{n}": p.detach() for n, p in model.named_parameters()}
    for name, p in model.named_parameters():
        for key in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{key}.{name}"] = optimizer.state[p][key]
    save_file(tensors, work / "state.tmp", metadata={"step": str(step)})
    (work / "state.tmp").replace(work / "state.safetensors")
    write_json(work / "log.json", log)


def train(work: Path, total: int, minutes: float) -> None:
    stream, held, _ = prepare(work)
    model = build_model()
    optimizer = optimizer_of(model)
    step, log, warmed = 0, [], 0
    if (work / "state.safetensors").exists():
        tensors = load_file(work / "state.safetensors")
        with safe_open(work / "state.safetensors", "pt") as f:
            step = int(f.metadata()["step"])
        log = json.loads((work / "log.json").read_text())
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(tensors[f"model.{name}"])
                if f"exp_avg.{name}" in tensors:
                    optimizer.state[p] = {k: tensors[f"{k}.{name}"] for k in ("step", "exp_avg", "exp_avg_sq")}
                    warmed = WARM_UP_STEPS
    else:
        log.append({"tokens": 0, "held_out": held_out_loss(model, held)})
    order = np.random.default_rng(0).permutation((len(stream) - 1) // 512)

    compiled = torch.compile(next_token_loss, dynamic=False)
    started, recent, since = time.time(), [], 0
    while step * BATCH_TOKENS < total and (time.time() - started) < minutes * 60:
        rate = learning_rate(step * BATCH_TOKENS, total, since + warmed)
        for group in optimizer.param_groups:
            group["lr"] = rate
        recent.append(train_step(model, optimizer, batch(stream, order, step, total), compiled))
        step, since = step + 1, since + 1
        if step % 50 == 0:
            speed = since * BATCH_TOKENS / (time.time() - started)
            print(f"step {step} tokens {step * BATCH_TOKENS} loss {np.mean(recent[-50:]):.4f} lr {rate:.2e} "
                  f"tokens/s {speed:.0f}", flush=True)  # fmt: skip
        if step % KEEP_EVERY == 0 or step * BATCH_TOKENS >= total:
            entry = {"tokens": step * BATCH_TOKENS, "train": float(np.mean(recent[-50:]))}
            entry["held_out"] = held_out_loss(model, held)
            log.append(entry)
            print(f"held-out {entry['held_out']:.4f} after {entry['tokens']} tokens", flush=True)
            save(work, model, optimizer, step, log)


def export(work: Path, folder: Path) -> None:
    """fp16 weights, config, tokenizer and the model card, from the last checkpoint."""
    stream, held, info = prepare(work)
    model = build_model()
    tensors = load_file(work / "state.safetensors")
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(tensors[f"model.{name}"])
    model.half().save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(work / "tokenizer.json")),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        model_max_length=512,
    )
    tokenizer.save_pretrained(folder)
    log = json.loads((work / "log.json").read_text())
    card = {
        "parameters": model.num_parameters(),
        "tokens_seen": log[-1]["tokens"],
        "corpus_tokens": len(stream),
        "held_out_tokens": len(held),
        "bytes_per_token": info["held_bytes"] / len(held),
        "held_out_loss": held_out_loss(model.float(), held),
        "trigram_loss": trigram_loss(stream, held),
        "untrained_loss": log[0]["held_out"],
        "history": log,
        "sources": info["sources"],
    }
    write_json(folder / "card.json", card)
    (folder / "README.md").write_text(card_text(card))


def card_text(card: dict) -> str:
    held = [s for s in card["sources"] if s["held_out"]]
    seen = sorted((s for s in card["sources"] if not s["held_out"]), key=lambda s: -s["bytes"])
    steps = card["history"][1:]
    kept = [steps[(len(steps) - 1) * k // 4] for k in (0, 1, 2, 3)]
    rows = "\n".join(f"| {e['tokens'] / 1e6:.1f} M | {e['held_out']:.3f} |" for e in kept)
    names = ", ".join(f"{s['name']} {s['version']} ({s['licence']})" for s in seen)
    held_names = ", ".join(s["name"] for s in held)
    return f"""# The pocket model

A GPTBigCode causal language model with StarCoder's module names, multi-query attention and tied head, small enough to
ship in a package: {card["parameters"]:,} parameters (256 wide, 4 layers, 8 heads, 512 positions), its own byte-level
BPE of 4,096 entries, weights in fp16. It exists so that every notebook runs on a laptop without network or GPU on a
model that truly was pre-trained. It completes Python-looking text; it answers nothing correctly and is not meant to.

- Licence: Apache-2.0, like the project.
- Training text: {card["corpus_tokens"] / 1e6:.1f} M tokens of Python source and documentation.
- Tokens seen: {card["tokens_seen"] / 1e6:.1f} M, with AdamW at a peak learning rate of {PEAK_LR:g}.
- Held-out text: {card["held_out_tokens"] / 1e6:.1f} M tokens of packages it has not seen: {held_names}.

| held-out loss (nats a token) | |
|---|---|
| the untrained model | {card["untrained_loss"]:.3f} |
| interpolated 3-gram on the same corpus | {card["trigram_loss"]:.3f} |
| **this model** | **{card["held_out_loss"]:.3f}** |

Earlier checkpoints, before the learning rate was decayed:

| tokens seen | held-out loss |
|---|---|
{rows}

A token is {card["bytes_per_token"]:.2f} bytes of held-out text on average.
Made by `scripts/assets/pretrain_pocket.py`; `card.json` holds these figures whole.

Sources, largest first, at most 10 MB each: {names}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/pocket"), help="corpus, checkpoints and log")
    parser.add_argument("--tokens", type=int, default=32_000_000, help="tokens to see in all")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many minutes; run again to go on")
    parser.add_argument("--export", type=Path, help="write the model folder from the last checkpoint and stop")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.export:
        export(args.work, args.export)
    else:
        train(args.work, args.tokens, args.minutes)


if __name__ == "__main__":
    main()
