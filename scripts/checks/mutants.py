"""Break the heart of the library on purpose, one line at a time: a test must fail for each.

    python -m scripts.checks.mutants            every mutant, ten minutes on two quiet cores
    python -m scripts.checks.mutants merge      those whose name holds "merge"

Prints `killed` or `SURVIVED` and the mutant's name, one a line, and exits with 1 if any survived. How they meet the
tests is in mutation_runner.py; mutants that nobody chose are in mutate.py.
"""

import os
import sys
from dataclasses import dataclass

from scripts.checks.mutation_runner import ROOT, Job, judge, survey, tests_of, warm


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands exactly once in lorabook/`file`, becomes `new`, and a test of that file should notice."""

    file: str
    name: str
    old: str
    new: str


SCALING = "return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)"
UPDATE = "(self.scaling * self.BA(x))"
LINEAR_Z = "z = F.linear(self.dropout(x), self.A.to(x.dtype))"
DRAW_A = "_draw(self.A, lambda t: t.uniform_(-bound, bound, generator=generator))"
DRAW_B = "_draw(self.B, lambda t: t.normal_(generator=generator))"
ALWAYS_ON = 'F.dropout(x, getattr(self.dropout, "p", 0.0), training=True)'
FREEZE = "    model.requires_grad_(False)\n"
MERGED = "merged = (original + layer.delta()).to(original.dtype)"
PUT_MERGED = "layer.base_layer.weight = nn.Parameter(merged, requires_grad=False)"
PUT_BACK = "layer.base_layer.weight = original\n"
SUBTRACT = "original.data = (layer.base_layer.weight - layer.delta()).to(original.dtype)"
LABEL_POSITIONS = "range(row * length + e.answer_start - 1, row * length + len(e.input_ids) - 1)"
END_TOKEN = "[*tokenize(pair.answer, tokenizer), end_token(tokenizer, chat_template)]"
FORMED = "softmax.to(weight.dtype) @ weight"
LOSS_SCALE = 'self.accelerator.scaler.load_state_dict(stored["scaler"])'
RESTORE_OPTIMIZER = "checkpoint.restore_optimizer(self.optimizer.optimizer, self.named, found.tensors)"
TAKEN = "taken = sum(not s.skipped for s in self.history.steps)"
STEP = "        self.optimizer.step()\n        if self.subspace:\n            self.subspace.write()\n"
DOWN = "z = _select(z, self.inverse).unflatten(-1, (-1, self.small)).sum(-2)"
WRITE = "            write_tensors(partial, self.tensors, self.header)\n"

# By file: the mutant's name, a text of the file, and what it becomes. Those called "spared" are of a sample that was
# drawn once: no test noticed them then.
TABLE: dict[str, list[tuple[str, str, str]]] = {
    "lora_config.py": [
        ("scaling is alpha", SCALING, "return self.alpha"),
        ("scaling is 1 / alpha / r", SCALING, "return 1 / self.alpha / self.r"),
        ("scaling forgets rslora", SCALING, "return self.alpha / self.r"),
        ("a pattern's last key wins", "in pattern.items():", "in reversed(pattern.items()):"),
    ],
    "lora.py": [
        ("scaling twice", UPDATE, "(self.scaling * self.scaling * self.BA(x))"),
        ("scaling missing from a linear layer's delta", "update = self.scaling * ", "update = "),
        ("scaling missing from an embedding's delta", "return self.scaling * (", "return ("),
        ("linear B starts nonzero", DRAW_A, f"{DRAW_A}\n        {DRAW_B}"),
        ("embedding A starts nonzero", DRAW_B, f"{DRAW_B}\n        {DRAW_B.replace('.B', '.A')}"),
        ("embedding B starts zero", DRAW_B, "self.B.data.zero_()"),
        ("A drawn twice as wide", "bound = 1 / ", "bound = 2 / "),
        ("A drawn from the global generator", DRAW_A, DRAW_A.replace("generator=generator", "generator=None")),
        ("base left trainable", FREEZE, ""),
        (
            "bias of an adapted layer left trainable",
            "base_layer.requires_grad_(False)",
            "base_layer\n        base_layer.weight.requires_grad_(False)",
        ),
        ("adapter frozen with the base", "    return Report(adapted, ", f"{FREEZE}    return Report(adapted, "),
        ("A in the base's dtype", "config.r, k, dtype=torch.float32", "config.r, k, dtype=base_layer.weight.dtype"),
        ("output left in fp32", f"{UPDATE}.to(h.dtype)", UPDATE),
        ("dropout kept in eval", LINEAR_Z, LINEAR_Z.replace("self.dropout(x)", ALWAYS_ON)),
        ("dropout on in a layer put into an eval model", "self.dropout.train(self.training)", "self.dropout.train()"),
        ("dropout after A", LINEAR_Z, "z = self.dropout(F.linear(x, self.A.to(x.dtype)))"),
        ("dropout never", LINEAR_Z, LINEAR_Z.replace("self.dropout(x)", "x")),
        ("padding token trained", ", padding_idx=self.padding_idx", ""),
        ("output head among all-linear", " and m is not head]", "]"),
    ],
    "kernels.py": [
        ("scaling twice in the kernel", "alpha=self.scaling)", "alpha=self.scaling * self.scaling)"),
        (
            "dropout on the base in the kernel",
            "z = F.linear(self.dropout(x), self.A.to(x.dtype))",
            "h, z = self.dropout(h), F.linear(x, self.A.to(x.dtype))",
        ),
        ("dropout forgets to divide", "ctx.scale = 256 / (256 - dropped)", "ctx.scale = 1.0"),
        ("the fork drops a gradient", "return first.add_(second)", "return first"),
    ],
    "merging.py": [
        ("merge subtracts", MERGED, MERGED.replace("+", "-")),
        ("merge rounds the update before the sum", MERGED, MERGED.replace("delta()", "delta().to(original.dtype)")),
        ("merge leaves the update on", "        layer.merged = True\n", ""),
        ("merge writes into the tied head", PUT_MERGED, "original.data = merged"),
        ("merge forgets the config's tie", "_set_tied(model, False)", "pass"),
        ("merge keeps a copy it was told not to", "(original,) if keep_copy else ()", "(original,)"),
        ("unmerge subtracts", PUT_BACK, f"{SUBTRACT}\n        {PUT_BACK}"),
        ("unmerge forgets the config's tie", "_set_tied(model, True)", "pass"),
        ("adapters outlive the base they were made for", "adapters_of(model).named.clear()", "pass"),
        (
            "spared: merged in part",
            "if any(layer.merged for layer in layers):\n        raise",
            "if all(layer.merged for layer in layers):\n        raise",
        ),
    ],
    "adapters.py": [
        ("the adapter before stays in", "    deactivate(model)\n    replace_modules", "    replace_modules"),
        ("a gradient waits for its adapter's next turn", "    model.zero_grad()  #", "    #"),
        ("an adapter comes in with the mode it had", ".train(layer.base_layer.training)", ""),
        ("switching copies base and adapter", "return layer.to(", "return __import__('copy').deepcopy(layer).to("),
        ("switching while merged", "if any(layer.merged for _, layer in lora_layers(model)):", "if False:"),
        ("every adapter for every row", "if row == name]", "if row]"),
    ],
    "peft_format/adapter_file.py": [
        ("file forgets rslora", '"use_rslora": config.rslora', '"use_rslora": False'),
        ("file rounds alpha", "else alpha", "else int(alpha)"),
        ("file forgets ranks of their own", " if layer.r != config.r}", " if False}"),
        ("file with a base that has changed", "    _refuse_changed_base(model, adapter.base)\n", ""),
        ("file that PEFT misreads", "if lost := lost_in_peft(model, names):", "if lost := {}:"),
        ("file turns fan_in_fan_out round", '"fan_in_fan_out": any(', '"fan_in_fan_out": not any('),
        ("loader takes NaN", "if not bool(torch.isfinite(tensor.float()).all()):", "if False:"),
        ("loader takes any base", "if known and not known.matches(Fingerprint.of(model)):", "if False:"),
        ("loader takes any base weight from PEFT", " or not torch.equal(stored.to(own), own)", ""),
        ("loader takes a file with a gap", "if absent:", "if False:"),
        ("loader takes any shape", "if seen != shape:", "if False:"),
        ("loader forgets B", 'layer.B.copy_(factors[name]["B"])', "pass"),
        ("spared: loader takes what the config does not adapt", "    if extra:", "    if False:"),
        (
            "spared: config before the weights",
            WRITE,
            f"            replace_text(folder / CONFIG_NAME, json.dumps(self.config))\n{WRITE}",
        ),
        ("spared: weights of an adapter not synced", "            sync(partial)\n", ""),
    ],
    "atomic.py": [("spared: text not synced", "            os.fsync(f.fileno())\n", "")],
    "data/examples.py": [
        ("end token dropped", END_TOKEN, "tokenize(pair.answer, tokenizer)"),
        ("special tokens in posts obeyed", "split_special_tokens=not control", "split_special_tokens=False"),
    ],
    "data/chat_template.py": [
        ("control tokens that a message names obeyed", 'names.sub(hide, FORBIDDEN.sub("", text))', "text"),
        ("turn ended by the end token", "    return found and found[0]", "    return None"),
    ],
    "data/markup.py": [("Markdown read as HTML", "2 * found >= len(texts)", "True")],
    "data/own_rows.py": [("earlier turns forgotten", "earlier=tuple(said[:-2])", "earlier=()")],
    "data/batches.py": [
        ("label at its own position", LABEL_POSITIONS, LABEL_POSITIONS.replace(" - 1", "")),
        ("label two positions on", LABEL_POSITIONS, LABEL_POSITIONS.replace(" - 1", " - 2")),
        ("spared: seed and epoch added up", "default_rng([seed, epoch])", "default_rng(seed + epoch)"),
    ],
    "step/loss.py": [
        ("gradient divided early", FORMED, f"{FORMED.replace('softmax', '(softmax / 50_000)')} * 50_000"),
        ("gradient of the label missing", "torch.full_like(log_z, -1.0)", "torch.zeros_like(log_z)"),
        ("spared: the loss keeps a cache", "input_ids=input_ids, use_cache=False", "input_ids=input_ids"),
    ],
    "subspace/fastfood.py": [
        ("adjoint permutes forwards", DOWN, DOWN.replace("self.inverse", "self.gather")),
        ("adjoint forgets G", "(0, self.L - self.D))).mul_(self.G)", "(0, self.L - self.D)))"),
        ("columns longer than 1", "self.c = math.sqrt(D *", "self.c = 0.5 * math.sqrt(D *"),
    ],
    "subspace/training.py": [
        ("gradient of theta is not pulled back", "self.projection.adjoint(flat)", "flat[: len(self.theta)]"),
        ("theta0 is projected too", "torch.add(start, piece if", "torch.add(0 * start, piece if"),
        ("lambda missing from theta's gradient", "[scale * g for scale, g in", "[g for scale, g in"),
        ("spared: one parameter without a gradient", "if all(p.grad is None", "if any(p.grad is None"),
        (
            "spared: gradients kept when a subspace goes",
            "            p.grad = None\n            if restore",
            "            if restore",
        ),
        (
            "spared: gradients kept when they are pulled",
            "        for p in parameters:\n            p.grad = None\n",
            "",
        ),
    ],
    "training/loop.py": [
        ("loss divided in each micro-batch", "self.world / label_tokens", "self.world / max(1, len(batch.labels))"),
        ("gradients of an earlier run kept", "        self.model.zero_grad()  #", "        #"),
        ("resumed without the random state", "        checkpoint.restore_random(found.tensors)\n", ""),
        ("resumed without the optimizer", RESTORE_OPTIMIZER, "pass"),
        ("resumed without the scheduler", TAKEN, f"{TAKEN} * (self.elapsed == 0)"),
        ("resumed without the loss scale", LOSS_SCALE, "pass"),
        ("skipped steps move the schedule", TAKEN, "taken = len(self.history.steps)"),
        ("parameters not written after a step", STEP, STEP.replace("self.subspace.write()", "pass")),
        ("spared: minutes begin anew on resume", '"elapsed": time.monotonic() - self.began', '"elapsed": 0.0'),
    ],
    "training/evaluate.py": [
        ("dropout on in evaluation", "    model.eval()\n    try:", "    try:"),
        ("held-out loss is a mean of means", "labels).item()", "labels).item() / len(batch.labels)"),
    ],
    "training/checkpoint.py": [
        ("spared: a checkpoint's manifest not synced", "        sync(partial / MANIFEST)\n", ""),
        (
            "spared: six digits of a step",
            'int(place.name.split("-")[1].removesuffix(ASIDE))',
            "int(place.name[5:11])",
        ),
    ],
    "training/record.py": [("scaling as the layer says", "float(added.mean()) / layer.r", "layer.scaling")],
    "memory/counter.py": [
        ("storages counted once for each view", "        if key in self._sizes:\n            return\n", ""),
        ("storages never let go", "self.live -= self._sizes.pop(key)", "self._sizes.pop(key)"),
    ],
    "memory/dry_run.py": [("dry run of the first step", "for _ in range(2):", "for _ in range(1):")],
    "memory/autocast.py": [("norms cast down", "    F.layer_norm,\n", "")],
    "memory/activations.py": [
        (
            "adapted layer keeps no input",
            "else int(not x_kept)) + len(hits) * c * n * r",
            "else 0) + len(hits) * c * n * r",
        ),
    ],
    "memory/estimate.py": [
        ("Adam has one moment", "return 8 * sum(tensors)\n    large", "return 4 * sum(tensors)\n    large"),
        ("logits forgotten", "hidden + 2 * chosen + logits * rows * v", "hidden + 2 * chosen"),
        ("spared: the 8-bit threshold", "size >= EIGHT_BIT_LEAST", "size > EIGHT_BIT_LEAST"),
    ],
    "diagnosis/findings.py": [
        ("twice shifted labels pass", "if labels.distance == 1:", "if labels.distance in (1, 2):"),
        ("a dead factor is two", "norms.A == norms.B == 0", "norms.A == 0"),
        ("learned by heart in a first pass", "run.passes is not None and run.passes <= 1", "False"),
        ("a base that moves passes", "if saved and not saved.matches(base):", "if False:"),
    ],
    "diagnosis/adapter_findings.py": [
        ("a compiled model's keys pass", r"(?!_orig_mod\.|module\.)", ""),
        ("a rank that differs passes", "!= (settings.for_module(f.module).r,)", '== "another"'),
        ("the base's layers are not counted", "len(numbers) < depth or ", ""),
        ("a local base that is gone passes", "if local and not isdir(name):", "if False:"),
    ],
    "diagnosis/trainer_log.py": [
        ("checkpoint-8 is newer than checkpoint-20", "(int(m[1]), p)", "(m[1], p)"),
    ],
    "workbook/many_tasks/bottleneck.py": [
        ("no skip around the bottleneck", "return h + F.linear(", "return F.linear("),
        ("exact GELU in the bottleneck", 'approximate="tanh"', 'approximate="none"'),
        ("bottleneck's normal not cut", "a=-cut, b=cut, ", ""),
        ("bottleneck drawn from the global generator", "b=cut, generator=generator", "b=cut"),
        ("bottleneck starts as the identity", "self.W_up = drawn(d, m)", "self.W_up = nn.Parameter(0 * drawn(d, m))"),
        ("one bottleneck a block", "if n in {*attention, *mlp}]", "if n in mlp]"),
        ("base left trainable beside bottlenecks", f"{FREEZE}    adapters", "    adapters"),
        ("norms not trained", "return named and ", "return False and "),
        ("norms in the base's dtype", "p.detach().to(torch.float32, copy=True)", "p.detach().clone()"),
        ("norms stay as trained", "            setattr(self.base_layer, name, p)\n", "            pass\n"),
    ],
}
MUTANTS = [Mutant(file, *each) for file, of_file in TABLE.items() for each in of_file]


def job(mutant: Mutant) -> Job:
    text = (ROOT / "lorabook" / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}, not once."
        )
    changed = text.replace(mutant.old, mutant.new)
    return Job(mutant.name, mutant.file, changed, 0, tests_of(mutant.file), wider=False)


def main(word: str = "") -> int:
    jobs = [job(m) for m in MUTANTS if word in m.name]
    if not jobs:
        raise SystemExit(f"No mutant's name holds {word!r}.")
    warm()
    workers, alive = os.cpu_count() or 1, 0
    for done, verdict in judge(jobs, survey([test for j in jobs for test in j.tests], workers), workers):
        alive += not verdict.by
        print("killed  " if verdict.by else "SURVIVED", done.name, flush=True)
    print(f"{len(jobs) - alive} of {len(jobs)} mutants killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
