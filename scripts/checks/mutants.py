"""Break the heart of the library on purpose, one line at a time: a test must fail for each.

    python -m scripts.checks.mutants            every mutant, ten minutes on two quiet cores
    python -m scripts.checks.mutants merge      those whose name holds "merge"

Prints `killed` or `SURVIVED` and the mutant's name, one a line, and exits with 1 if any survived. How they meet the
tests is in mutation_runner.py; mutants that nobody chose are in mutate.py.
"""

import os
import sys
from dataclasses import dataclass

from scripts.checks.mutation_runner import ROOT, Job, judge, survey, warm


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands exactly once in lorabook/`file`, becomes `new`, and `tests` should notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


SCALING = "return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)"
LINEAR_Z = "z = F.linear(self.dropout(x), self.A.to(x.dtype))"
LINEAR_UPDATE = "alpha=self.scaling)"
EMBEDDING_UPDATE = "(F.linear(self.scaling * z, self.B) * scale)"
DRAW_A = "_draw(self.A, lambda t: t.uniform_(-bound, bound, generator=generator))"
DRAW_B = "_draw(self.B, lambda t: t.normal_(generator=generator))"
ALWAYS_ON = 'F.dropout(x, getattr(self.dropout, "p", 0.0), training=True)'
FREEZE = "    model.requires_grad_(False)\n"
MERGED = "merged = (original + layer.delta()).to(original.dtype)"
PUT_MERGED = "layer.base_layer.weight = nn.Parameter(merged, requires_grad=False)"
PUT_BACK = "layer.base_layer.weight = original\n"
SUBTRACT = "original.data = (layer.base_layer.weight - layer.delta()).to(original.dtype)"

# (name, text, what it becomes), by file: those of the layers, of the adapter file, of many adapters.
SETTINGS = [
    ("scaling is alpha", SCALING, "return self.alpha"),
    ("scaling is 1 / alpha / r", SCALING, "return 1 / self.alpha / self.r"),
    ("scaling forgets rslora", SCALING, "return self.alpha / self.r"),
    ("a pattern's last key wins", "in pattern.items():", "in reversed(pattern.items()):"),
]
LAYERS = [
    ("scaling twice in linear layers", LINEAR_UPDATE, LINEAR_UPDATE.replace("self", "self.scaling * self")),
    ("scaling twice in embeddings", EMBEDDING_UPDATE, EMBEDDING_UPDATE.replace("* z", "* self.scaling * z")),
    ("scaling missing from a linear layer's delta", "update = self.scaling * ", "update = "),
    ("scaling missing from an embedding's delta", "return self.scaling * (", "return ("),
    ("linear B starts nonzero", DRAW_A, f"{DRAW_A}\n        {DRAW_B}"),
    ("embedding A starts nonzero", DRAW_B, f"{DRAW_B}\n        {DRAW_B.replace('.B', '.A')}"),
    ("embedding B starts zero", DRAW_B, "self.B.data.zero_()"),
    ("A drawn twice as wide", "bound = 1 / ", "bound = 2 / "),
    ("A drawn from the global generator", DRAW_A, DRAW_A.replace("generator=generator", "generator=None")),
    ("base left trainable", FREEZE, ""),
    ("bias of an adapted layer left trainable", "base_layer.requires_grad_(", "base_layer.weight.requires_grad_("),
    ("adapter frozen with the base", "    return Report(adapted, ", f"{FREEZE}    return Report(adapted, "),
    ("A in the base's dtype", "config.r, k, dtype=torch.float32", "config.r, k, dtype=base_layer.weight.dtype"),
    ("output left in fp32", f"{EMBEDDING_UPDATE}.to(h.dtype)", EMBEDDING_UPDATE),
    ("dropout kept in eval", LINEAR_Z, LINEAR_Z.replace("self.dropout(x)", ALWAYS_ON)),
    ("dropout on in a layer put into an eval model", "self.dropout.train(self.training)", "self.dropout.train()"),
    ("dropout after A", LINEAR_Z, "z = self.dropout(F.linear(x, self.A.to(x.dtype)))"),
    ("dropout never", LINEAR_Z, LINEAR_Z.replace("self.dropout(x)", "x")),
    ("padding token trained", ", padding_idx=self.base_layer.padding_idx", ""),
    ("output head among all-linear", " and m is not head}", "}"),
]
MERGING = [
    ("merge subtracts", MERGED, MERGED.replace("+", "-")),
    ("merge rounds the update before the sum", MERGED, MERGED.replace("delta()", "delta().to(original.dtype)")),
    ("merge leaves the update on", "        layer.merged = True\n", ""),
    ("merge writes into the tied head", PUT_MERGED, "original.data = merged"),
    ("merge forgets the config's tie", "_set_tied(model, False)", "pass"),
    ("merge keeps a copy it was told not to", "(original,) if keep_copy else ()", "(original,)"),
    ("unmerge subtracts", PUT_BACK, f"{SUBTRACT}\n        {PUT_BACK}"),
    ("unmerge forgets the config's tie", "_set_tied(model, True)", "pass"),
    ("adapters outlive the base they were made for", 'vars(model).pop("lora_adapters", None)', "pass"),
]
ADAPTER_FILE = [
    ("file forgets rslora", '"use_rslora": config.rslora', '"use_rslora": False'),
    ("file rounds alpha", "else alpha", "else int(alpha)"),
    ("file forgets ranks of their own", " if layer.r != config.r}", " if False}"),
    ("file with a base that has changed", "if changed := base.changed(model):", "if changed := []:"),
    ("file that PEFT misreads", "if lost := lost_in_peft(model, names):", "if lost := {}:"),
    ("file turns fan_in_fan_out round", '"fan_in_fan_out": any(', '"fan_in_fan_out": not any('),
    ("loader takes NaN", "if not bool(torch.isfinite(tensor.float()).all()):", "if False:"),
    ("loader takes any base", "if known and not known.matches(Fingerprint.of(model)):", "if False:"),
    ("loader takes any base weight from PEFT", " or not torch.equal(stored.to(own), own)", ""),
    ("loader takes a file with a gap", "if absent:", "if False:"),
    ("loader takes any shape", "if seen != shape:", "if False:"),
    ("loader forgets B", 'layer.B.copy_(factors[name]["B"])', "pass"),
]
ADAPTERS = [
    (
        "the adapter before stays in",
        "    deactivate(model)\n    replace_modules",
        "    replace_modules",
    ),
    ("a gradient waits for its adapter's next turn", "    model.zero_grad()  #", "    #"),
    ("an adapter comes in with the mode it had", ".train(layer.base_layer.training)", ""),
    ("switching copies base and adapter", "return layer.to(", "return __import__('copy').deepcopy(layer).to("),
    ("switching while merged", "if any(layer.merged for _, layer in lora_layers(model)):", "if False:"),
    ("every adapter for every row", "if row == name]", "if row]"),
]
# (name, file, text, what it becomes): the way from text to a trained weight, and what a resumed run needs.
LABEL_PLACES = "range(row * length + e.answer_start - 1, row * length + len(e.input_ids) - 1)"
END_TOKEN = "[*tokenize(pair.answer, tokenizer), end_token(tokenizer)]"
FORMED = "softmax.to(weight.dtype) @ weight"
ONE_LOSS = "self.world / labels"
ZEROED = "        self.model.zero_grad()  # those of an attempt that failed, or of a run before this one\n"
TAKEN = "taken = step - sum(s.skipped for s in self.history.steps)"
RESTORE_RANDOM = "    checkpoint.restore_random(found.tensors)\n"
RESTORE_OPTIMIZER = "checkpoint.restore_optimizer(run.optimizer.optimizer, [n for n, _ in run.named], found.tensors)"
STEP = "        self.optimizer.step()\n        if self.subspace:\n            self.subspace.write()\n"
TRAINING = [
    ("label at its own position", "batches.py", LABEL_PLACES, LABEL_PLACES.replace(" - 1", "")),
    ("label two positions on", "batches.py", LABEL_PLACES, LABEL_PLACES.replace(" - 1", " - 2")),
    ("end token dropped", "batches.py", END_TOKEN, "tokenize(pair.answer, tokenizer)"),
    ("special tokens in posts obeyed", "batches.py", "split_special_tokens=True", "split_special_tokens=False"),
    ("loss divided in each micro-batch", "train.py", ONE_LOSS, "self.world / max(1, len(batch.labels))"),
    ("gradient divided early", "loss.py", FORMED, f"{FORMED.replace('softmax', '(softmax / 50_000)')} * 50_000"),
    ("gradient of the label missing", "loss.py", "torch.full_like(log_z, -1.0)", "torch.zeros_like(log_z)"),
    ("gradients of an earlier run kept", "train.py", ZEROED, ""),
    ("resumed without the random state", "run_state.py", RESTORE_RANDOM, ""),
    ("resumed without the optimizer", "run_state.py", RESTORE_OPTIMIZER, "pass"),
    ("resumed without the scheduler", "train.py", TAKEN, "taken = step * (self.elapsed == 0)"),
    ("resumed without the loss scale", "run_state.py", 'scaler.load_state_dict(found.state["scaler"])', "scaler"),
    ("skipped steps move the schedule", "train.py", TAKEN, "taken = step"),
    ("dropout on in evaluation", "evaluate.py", "    model.eval()\n    try:", "    try:"),
    ("held-out loss is a mean of means", "evaluate.py", "labels).item()", "labels).item() / len(batch.labels)"),
]
# The same for random subspaces, bottleneck adapters and memory. The adjoint is what the gradient is pulled back with.
DOWN = "z = _select(z, self.inverse).unflatten(-1, (-1, self.small)).sum(-2)"
SUBSPACES = [
    ("adjoint permutes forwards", "fastfood.py", DOWN, DOWN.replace("self.inverse", "self.gather")),
    ("adjoint forgets G", "fastfood.py", "(0, self.L - self.D))).mul_(self.G)", "(0, self.L - self.D)))"),
    ("columns longer than 1", "fastfood.py", "self.c = math.sqrt(D *", "self.c = 0.5 * math.sqrt(D *"),
    ("gradient of theta is not pulled back", "subspace.py", "self.projection.adjoint(flat)", "flat[: len(self.theta)]"),
    ("theta0 is projected too", "subspace.py", "torch.add(start, piece if", "torch.add(0 * start, piece if"),
    ("lambda missing from theta's gradient", "subspace.py", "[scale * g for scale, g in", "[g for scale, g in"),
    ("parameters not written after a step", "train.py", STEP, STEP.replace("self.subspace.write()", "pass")),
]
BOTTLENECKS = [
    ("no skip around the bottleneck", "return h + F.linear(", "return F.linear("),
    ("exact GELU in the bottleneck", 'approximate="tanh"', 'approximate="none"'),
    ("bottleneck's normal not cut", "a=-cut, b=cut, ", ""),
    ("bottleneck drawn from the global generator", "b=cut, generator=generator", "b=cut"),
    ("bottleneck starts as the identity", "self.W_up = drawn(d, m)", "self.W_up = nn.Parameter(0 * drawn(d, m))"),
    ("one bottleneck a block", "if n in {*attention, *mlp}]", "if n in mlp]"),
    ("base left trainable beside bottlenecks", "    model.requires_grad_(False)\n    adapters", "    adapters"),
    ("norms not trained", "return named and ", "return False and "),
    ("norms in the base's dtype", "p.detach().to(torch.float32, copy=True)", "p.detach().clone()"),
    ("norms stay as trained", "            setattr(self.base_layer, name, p)\n", ""),
]
MEMORY = [
    (
        "storages counted once for each view",
        "memory/counter.py",
        "        if key in self._sizes:\n            return\n",
        "",
    ),
    ("storages never let go", "memory/counter.py", "self.live -= self._sizes.pop(key)", "self._sizes.pop(key)"),
    ("rehearsal of the first step", "memory/rehearse.py", "for _ in range(2):", "for _ in range(1):"),
    ("norms cast down", "memory/arithmetic.py", "    F.layer_norm,\n", ""),
    (
        "Adam has one moment",
        "memory/ledger.py",
        "return 8 * sum(tensors)\n    large",
        "return 4 * sum(tensors)\n    large",
    ),
    (
        "adapted layer keeps no input",
        "memory/activations.py",
        "else int(not x_kept)) + len(hits) * c * n * r",
        "else 0) + len(hits) * c * n * r",
    ),
    ("logits forgotten", "memory/ledger.py", "hidden + 2 * chosen + logits * rows * v", "hidden + 2 * chosen"),
]
DOCTOR = [
    ("twice shifted labels pass", "run_doctor.py", "if labels.distance == 1:", "if labels.distance in (1, 2):"),
    ("a dead factor is two", "run_doctor.py", "norms.A == norms.B == 0", "norms.A == 0"),
    ("learned by heart in a first pass", "run_doctor.py", "len(history.steps) <= facts.record.epoch", "False"),
    ("scaling as the layer says", "run_record.py", "float(added.mean()) / layer.r", "layer.scaling"),
    ("a base that moves passes", "run_doctor.py", "if saved and not saved.matches(base):", "if False:"),
    ("a fault stays planted", "workbook/faults.py", "        fault.function.__code__ = sound\n", "        pass\n"),
]
LAYER_TESTS = ("test_lora.py", "test_lora_parity.py", "test_merge.py")
FILE_TESTS = ("test_adapter_file.py", "test_adapter_refusals.py", "test_peft_differences.py")
ADAPTERS_TESTS = ("test_adapters.py", "test_mixed_batch.py")
TRAINING_TESTS = {
    "batches.py": ("test_batches.py", "test_loss.py"),
    "loss.py": ("test_loss.py",),
    "train.py": ("test_train.py", "test_resume.py"),
    "run_state.py": ("test_resume.py",),
    "evaluate.py": ("test_evaluate.py",),
}
MEMORY_TESTS = ("test_counter.py", "test_rehearse.py", "test_ledger.py", "test_ledger_activations.py")
# (name, file, text, what it becomes, tests): those that a sample drawn once found no test for.
ELAPSED = '        "elapsed": run.elapsed,\n'
SPARED = [
    (
        "spared: merged in part",
        "merging.py",
        "if any(layer.merged for layer in layers):\n        raise",
        "if all(layer.merged for layer in layers):\n        raise",
        ("test_merge.py",),
    ),
    (
        "spared: loader takes what the config does not adapt",
        "adapter_file.py",
        "    if extra:",
        "    if False:",
        ("test_adapter_refusals.py",),
    ),
    (
        "spared: config before the weights",
        "adapter_file.py",
        "        write_tensors(partial, tensors, header)\n",
        "        replace_text(folder / CONFIG_NAME, json.dumps(stored))\n        write_tensors(partial, tensors, header)\n",
        ("test_adapter_file.py",),
    ),
    (
        "spared: weights of an adapter not synced",
        "adapter_file.py",
        "        sync(partial)\n",
        "",
        ("test_adapter_file.py",),
    ),
    ("spared: text not synced", "files.py", "            os.fsync(f.fileno())\n", "", ("test_files.py",)),
    (
        "spared: a checkpoint's manifest not synced",
        "checkpoint.py",
        "        sync(partial / MANIFEST)\n",
        "",
        ("test_checkpoint.py",),
    ),
    (
        "spared: minutes begin anew on resume",
        "run_state.py",
        ELAPSED,
        ELAPSED.replace("run.elapsed", "0.0"),
        ("test_train.py",),
    ),
    (
        "spared: one parameter without a gradient",
        "subspace.py",
        "if all(p.grad is None",
        "if any(p.grad is None",
        ("test_subspace.py",),
    ),
    (
        "spared: gradients kept when a subspace goes",
        "subspace.py",
        "            p.grad = None\n            if restore",
        "            if restore",
        ("test_subspace.py",),
    ),
    (
        "spared: gradients kept when they are pulled",
        "subspace.py",
        "        for p in parameters:\n            p.grad = None\n",
        "",
        ("test_subspace.py",),
    ),
    (
        "spared: seed and epoch added up",
        "batches.py",
        "default_rng([seed, epoch])",
        "default_rng(seed + epoch)",
        ("test_batches.py",),
    ),
    (
        "spared: the loss keeps a cache",
        "loss.py",
        "input_ids=input_ids, use_cache=False",
        "input_ids=input_ids",
        ("test_loss_check.py",),
    ),
    (
        "spared: six digits of a step",
        "checkpoint.py",
        'int(place.name.split("-")[1].removesuffix(ASIDE))',
        "int(place.name[5:11])",
        ("test_checkpoint.py",),
    ),
    (
        "spared: the 8-bit threshold",
        "memory/ledger.py",
        "size >= EIGHT_BIT_LEAST",
        "size > EIGHT_BIT_LEAST",
        ("test_ledger.py",),
    ),
]
MUTANTS = [
    *(Mutant(*each) for each in SPARED),
    *(Mutant(name, "lora_config.py", old, new, ("test_lora_config.py", *LAYER_TESTS)) for name, old, new in SETTINGS),
    *(Mutant(name, "lora.py", old, new, LAYER_TESTS) for name, old, new in LAYERS),
    *(Mutant(name, "merging.py", old, new, ("test_merge.py", "test_adapters.py")) for name, old, new in MERGING),
    *(Mutant(name, "adapter_file.py", old, new, FILE_TESTS) for name, old, new in ADAPTER_FILE),
    *(Mutant(name, "adapters.py", old, new, ADAPTERS_TESTS) for name, old, new in ADAPTERS),
    *(Mutant(name, file, old, new, TRAINING_TESTS[file]) for name, file, old, new in TRAINING),
    *(Mutant(name, file, old, new, ("test_fastfood.py", "test_subspace.py")) for name, file, old, new in SUBSPACES),
    *(Mutant(name, "bottleneck.py", old, new, ("test_bottleneck.py",)) for name, old, new in BOTTLENECKS),
    *(Mutant(name, file, old, new, MEMORY_TESTS) for name, file, old, new in MEMORY),
    *(Mutant(name, file, old, new, ("test_run_doctor.py",)) for name, file, old, new in DOCTOR),
]


def job(mutant: Mutant) -> Job:
    text = (ROOT / "lorabook" / mutant.file).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}, not once."
        )
    return Job(mutant.name, mutant.file, text.replace(mutant.old, mutant.new), 0, mutant.tests, wider=False)


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
