"""What an output that differs from machine to machine has to show all the same: a check, run with its cell.

Root `conftest.py` appends them to the cells that nbval runs, and `tests/faults/hands.py` to those it runs twice.
"""

CHECKS: dict[str, dict[str, str]] = {
    "00_start_here": {
        "new-36": "assert (h - same).abs().max() < 1e-4 * h.abs().max()",
        "start-08": "assert len(texts_before) == 33",
        "start-10": "camel, snake = multi_word_names(texts_before).values()\nassert len(snake) > 3 * len(camel)",
        "start-17": "assert losses[-1] < 2.7",
        "start-19": "camel, snake = multi_word_names(texts_lora).values()\nassert len(camel) > 3 * len(snake)",
        "start-19b": "assert len(texts_lora) == 33",
        "new-33": "assert same == 33",
        "start-24a": "assert counts['LoRA removed'] == counts['before']",
        "start-30": "assert kept > 0.8 * places",
    },
    "01_lora_from_scratch": {
        "scratch-03": "assert difference < 1e-5 * largest",
        # what the cells have written, for the checks below
        "scratch-16": 'assert int(count_before.split("(")[1].split("%")[0]) < 40\n'
        "written = []\n"
        "def write_and_count(write=write_and_count):\n    written.append(write())\n    return written[-1]",
        "scratch-18": 'assert held_out_loss < 2.65 and int(count_after.split("(")[1].split("%")[0]) > 70',
        "scratch-21": "assert len(texts_after) == len(texts_before) == 44",
        "scratch-23": "by_strength = dict(zip((0, 0.25, 0.5, 0.75, 1, 2, 4), written[-7:]))\n"
        "assert by_strength[1] == (texts_after, count_after) and by_strength[0] == (texts_before, count_before)",
        "scratch-28": "assert difference < 1e-3",
        # the reader's layer, PEFT's and the library's, with the same A and B
        "scratch-37": "import lorabook\nwrapped = base.transformer.h[0].mlp.c_fc\n"
        "mine = LoRALinear(wrapped.base_layer, r, alpha)\nnn.init.normal_(mine.B)\n"
        "wrapped.lora_A['default'].weight.data.copy_(mine.A)\nwrapped.lora_B['default'].weight.data.copy_(mine.B)\n"
        "ours = lorabook.LoRALinear(wrapped.base_layer, lorabook.LoRAConfig(r=r, alpha=alpha))\n"
        "ours.load_state_dict({'A': mine.A, 'B': mine.B}, strict=False)\nx = torch.randn(5, 256)\n"
        "assert torch.allclose(ours(x), mine(x), atol=1e-5)\nassert torch.allclose(wrapped(x), mine(x), atol=1e-5)\n"
        "trained = sum(p.numel() for p in peft_model.parameters() if p.requires_grad)\n"
        "assert trained == sum(p.numel() for p in trainable)",
    },
    "02_where_memory_goes": {
        "memory-25h": "for name, values in values_per_token.items():\n"
        "    by_hand = lora_bytes + 2 * tokens * values\n"
        "    assert 0.87 < by_hand / dry_runs[name].peak < 0.97",
    },
    "03_rank_and_alpha": {
        # what the checks below ask for, the cells have trained
        "race-g": "from functools import cache\ntrain = cache(train)",
        "race-c": "assert after > before + 1 and train(1, alpha=2, lr=0.0128)[1] < before - 0.2",
        "race-r": "assert after < sweeps['r = 1, α = 2'].best_loss - 0.05\n"
        "for name, lr in (('r = 1, α = 2', 0.0128), ('r = 16, α = 32', 0.0128), ('r = 64, α = 128', 0.0032)):\n"
        "    sweep = sweeps[name]\n"
        "    assert abs(train(sweep.r, alpha=sweep.alpha, lr=lr)[1] - sweep.losses[lr][0]) < 0.02",
        "fixed-r": "assert after < train(1, alpha=2, lr=0.0128)[1] - 0.02",
        "step-2": "assert 50 < first_step(64, 128, 0.0005) / first_step(1, 2, 0.0005) < 64\n"
        "assert 0.9 < first_step(64, 2, 0.0005) / first_step(1, 2, 0.0005) < 1.1\n"
        "assert 3.5 < first_step(64, 8, 0.0005) / first_step(64, 8, 0.000125) < 4.1",
    },
    "04_low_rank_updates": {
        "set-1": "assert tuned_loss < base_loss - 0.3 and min(ranks) > 200",
        # what the checks below ask for, the cells have measured
        "lowrank-14": "def recovery(update, measured={}, measure=recovery):\n"
        "    key = tuple(delta.double().sum().item() for delta in update.values())\n"
        "    if key not in measured:\n        measured[key] = measure(update)\n    return measured[key]",
        "terms-c": "assert 0.6 < recoveries[4] < 0.85 and 0.9 < recoveries[16] < 0.97 and 0.2 < energies[4] < 0.3\n"
        "assert list(recoveries.values()) == sorted(recoveries.values()) and abs(recoveries[256] - 1) < 1e-3",
        "twist-c": "assert recoveries[4] - 0.15 < recovery(rest) < recoveries[4]",
        # and that the loss levels off on the way
        "half-c": "assert recoveries[4] + 0.05 < recovery(half) < 0.9\n"
        "quarter = {name: delta / 4 for name, delta in change.items()}\n"
        "assert recovery(quarter) > recovery(half) / 2 + 0.1",
        "lora-def": "assert {int(torch.linalg.matrix_rank(delta)) for delta in lora_update.values()} == {4}",
        # with what exercise 2 says of terms 5 to 8, and more_low_rank.md of larger and smaller updates
        "new-81": "assert recovery(first_4) + 0.05 < lora_recovery\n"
        "def times(factor, update):\n    return recovery({name: factor * delta for name, delta in update.items()})\n"
        "enlarged = [times(factor, first_4) for factor in (1.25, 1.5, 2, 3)]\n"
        "for seen, said in zip(enlarged, (0.79, 0.76, 0.62, 0.07)):\n    assert abs(seen - said) < 0.03\n"
        "assert abs(times(0.2, lora_update) - 0.38) < 0.05 and 5 < energy(lora_update) / energy(change) < 6.5\n"
        "middle = {name: first_terms(delta, 8) - first_4[name] for name, delta in change.items()}\n"
        "assert 0.3 < recovery(middle) < 0.4",
    },
    "05_intrinsic_dimension": {
        "dimension-16b": "assert found[10] < 0.5 and 0.8 < found[100] < 0.9\n"
        "assert 0.88 < found[200] < 0.95 < found[D]",
        "dimension-16d": "assert 80 < d90 <= 300",
    },
    "06_fastfood": {
        "full-size": "assert 0.9 < project(spike).norm() < 1.1",
        "secret-2": "assert (train(project, adam, 0.05) - secret).abs().max() < 0.1",
        "new-76w": "assert (train(wrong_project, sgd, 0.1 * L) - secret).abs().max() < 0.01\n"
        "assert (train(wrong_project, adam, 0.05) - secret).abs().max() < 0.1\n"
        "assert train(wrong_project, sgd, 0.1).abs().max() < 0.01",
    },
    "07_many_tasks": {
        "tasks-05b": "assert all(layer.B.abs().max() > 0 for layers in adapters.values() for layer in layers.values())",
        "tasks-07": "shown = [write(adapters['docstrings'], seed).count('\"\"\"') > 0 for seed in range(5)]\n"
        "assert sum(shown) > 3",
        "tasks-09b": "assert difference == 0",
        "tasks-18": "assert own < 1e-3",
        "tasks-23b": "counted = []\n"
        "def count(layers, count=count):\n    counted.append(count(layers))\n    return counted[-1]",
        "tasks-23p": "without, alone, camel, both = counted[-4:]\n"
        "assert both[0] < alone[0] - 10 and both[1] < alone[1] - 10",
        "tasks-23s": "assert counted[-3][0] > both[0] + 10 and counted[-1][0] > without[0]",
    },
    "08_clinic": {
        "healthy-b": "import random\n"
        "from transformers import DataCollatorForSeq2Seq\n"
        "from lorabook.workbook.clinic.task import count_right, model_with_lora, train, write_answers\n"
        "def right_of(tested, **options):\n    return count_right(write_answers(tested, **options))\n"
        "assert right_of(model_with_lora()) == 0 and right_of(model) > 18 and healthy_log[-1][0] < 0.1\n"
        "end, collate = tokenizer.eos_token_id, DataCollatorForSeq2Seq(tokenizer)\n"
        "assert all(example['input_ids'][-1] == example['labels'][-1] == end for example in training)\n"
        "assert max(sum(label != -100 for label in example['labels']) for example in training) < 16",
        "masked-d": "assert not any(label != -100 for example in examples for label in example['labels'])\n"
        "assert [norm for loss, norm in train(model_with_lora(), examples, steps=1)] == [0.0]",
        "masked-f": "assert target(labels[-1]) == repr(tokenizer.eos_token)\n"
        "assert all(label == -100 for example in examples for label in example['labels'])",
        "masked-h": "assert fixed_examples == training\nassert right_of(fixed_model) > 18",
        "never-b": "assert log[-1][0] < 0.1 and right_of(endless) == 0",
        "never-f": "found = [m(answered).logits[0, -1].softmax(0)[end] for m in (endless, model_with_lora(), model)]\n"
        "assert max(found[:2]) < 0.01 and found[2] > 0.9",
        "merge-b": "assert write_answers(merged_model()) == write_answers(model)",
        "merge-b2": "assert right_of(deployed) < 5\n"
        "assert right_of(patients.case_4(load_model('pocket').model, adapter)) > 18\n"
        "batch = collate(training[:4])\n"
        "assert (deployed(**batch).logits - merged_model(2)(**batch).logits).abs().max() < 0.01",
        "merge-e2": "assert (output - expected).abs().max() < 1e-3",
        "merge-f": "assert right[0] == 0 and min(right[0.5], right[1]) > 17 and right[1.5] < 20 and right[2] < 5",
        "use-b": "assert patients.case_1(model).count('') > 15",
        "use-d": "assert file_prompt == 'Question: {}\\nAnswer:\\n'",
        "use-e1": "for prompt in (task.PROMPT + ' With print(points).', file_prompt):\n"
        "    assert next_token(base, prompt).startswith(r\"'\\n' \")\n"
        "    assert next_token(model, prompt).startswith(\"'<|endoftext|>' \")\n"
        "    assert float(next_token(model, prompt).split()[1][:-1]) > 80\n"
        "assert next_token(model, task.PROMPT).startswith(\"' W' \")",
        "use-f": "assert right_of(model, prompt=prompt) < 5\n"
        "for harmless in ('Question {}\\nAnswer:', 'Question: {}\\nReply:'):\n"
        "    assert right_of(model, prompt=harmless) > 15",
        "grad-b": "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()) as printed:\n"
        "    task.try_to_train(broken, training)\n"
        "said = printed.getvalue()\n"
        "assert 'None of the inputs have requires_grad=True' in said and 'element 0 of tensors' in said",
        "grad-d": "assert not embedded.requires_grad",
        "grad-f": "assert abs(train(model_with_lora(), training, steps=1)[0][0] - healthy_log[0][0]) < 0.02\n"
        "assert all(layer.B.abs().max() > 0 for name, layer in lora_layers(fixed_model))",
        "nan-b": "assert not all(p.isfinite().all() for p in broken.parameters())",
        # with what more_clinic.md says of the gradients
        "nan-d": "collate = DataCollatorForSeq2Seq(tokenizer)\n"
        "assert all(layer.A.isnan().all() for layer in layers) and 0.12 < B.isfinite().float().mean() < 0.17\n"
        "assert B.isinf().float().mean() > 0.8\n"
        "again = patients.case_6()\nrandom.seed(0)\n"
        "again(**collate(random.choices(training, k=8))).loss.backward()\n"
        "assert all(layer.A.grad.abs().max() == 0 for name, layer in lora_layers(again))\n"
        "gradient = torch.cat([layer.B.grad.flatten() for name, layer in lora_layers(again)])\n"
        "assert 0.001 < gradient.abs().median() < 0.002 and 0.005 < gradient[B.isfinite()].abs().min() < 0.006",
        "nan-f": "assert all(p.isfinite().all() for p in fixed_model.parameters()) and right_of(fixed_model) > 18",
        "keys-b": "assert all(layer.B.abs().max() == 0 for name, layer in lora_layers(loaded))",
        "keys-f": "for (name, layer), (_, original) in zip(lora_layers(loaded), lora_layers(model), strict=True):\n"
        "    assert torch.equal(layer.A, original.A) and torch.equal(layer.B, original.B)",
        "c8-b": "assert count_right(write_answers(patient)) < 5\n"
        "assert seen < 0.05 and unseen > 1.5 and loss_on(held_out, model) < 0.1",
        # all words of the answers are those of the three examples, but for a piece of one here or there
        "c8-d": "trained_on = [answer for _, answer in task.training_pairs[: len(chosen)]]\n"
        "known = {word for answer in trained_on for word in answer[5:-2].split('(')}\n"
        "answers = [answer[6:-2].split('(') for answer in write_answers(patient)]\n"
        "assert sum(set(words) <= known for words in answers) > 16 and right_of(patient) < 5\n"
        "assert write_answers(patient)[1] == ' With sum(weights).'\n"
        "assert [name for name in trained_on if 'weights' in name] == ['With sum(weights).']\n"
        "assert count == len(training) and right_of(trained) > 18",
        "c9-b": "jump = [loss for loss, norm in logs['case 9']]\n"
        "assert max(jump) > 8 and jump[1] < jump[0] < jump[2] and jump[-1] > 2 and healthy_log[-1][0] < 0.1\n"
        "assert min(loss for loss, norm in logs['case 10']) > 2.5 and right_of(trained) == 0\n"
        "again = model_with_lora()\n"
        "train(again, training, **patients.SETTINGS['case 9'])\n"
        "assert right_of(again) == 0",
        "c9-d": "assert 5 < right_of(trained) < 18",
    },
    "09_finetune_starcoder": {
        # no flag for both verbs and objects that training doesn't show, and what the page says of the question's effect
        "loop-r": "from lorabook.data.examples import Pair, encode_all, swapped_questions\n"
        "from lorabook.training.evaluate import answer_loss\n"
        "assert {verb for verb, _ in actions[:77]} == set(flags)\n"
        "assert {thing for _, thing in actions[:77]} == set(objects)\n"
        "def effect(model, pairs):\n"
        "    examples = encode_all([Pair(i, '', *pair) for i, pair in enumerate(pairs)], tokenizer, 512)\n"
        "    own, other = swapped_questions(examples, 512)\n"
        "    return answer_loss(model, other).loss - answer_loss(model, own).loss\n"
        "assert test(model, pairs[77:]) == 'loss 0.00, exact matches: 19 of 19', test(model, pairs[77:])\n"
        "assert int(test(model, pairs[:77]).split()[-3]) >= 75\n"
        "assert 0.15 < effect(load_model('pocket').model, pairs[77:]) < 0.24\n"
        "assert 1.8 < effect(model, pairs[77:]) < 2.3",
        "own-w": "assert ask(model, question) in [f'Run `lab table --{flag}`.' for flag in flags.values()]",
        "shuffle-r": "found = test(model, shuffled[77:])\n"
        "assert 0.19 < float(found.split()[1][:-1]) < 0.4 and int(found.split()[-3]) < 6, found\n"
        "assert int(test(model, shuffled[:77]).split()[-3]) < 40\n"
        "assert 0.9 < effect(model, shuffled[77:]) < 1.4",
        "shuffle-e": "for answer in five:\n"
        "    flag = answer.tokens.index(' --') + 1\n"
        "    assert max(answer.losses[:flag] + answer.losses[-2:]) < 0.3 < answer.losses[flag]\n"
        "lengths = [len(ids) - start for ids, start in (encode(*pair) for pair in shuffled[77:])]\n"
        "assert 10.5 < sum(lengths) / 19 < 11.5",
        "facts-c": "assert int(test(model, informed[77:]).split()[-3]) >= 17\n"
        "assert ask(model, 'How do I open a window? Its flag is --wide.') == 'Run `lab window --wide`.'",
        # and what the page says of the question's effect
        "python-c": 'assert history.stopped == "finished" and history.held_out[-1][1] < history.held_out[0][1]\n'
        "assert (len(run.training), len(run.held_out)) == (259, 65)\n"
        "assert (run.output / 'adapter_model.safetensors').exists()\n"
        "own, other = swapped_questions(run.held_out, 512)\n"
        "models = (load_model('pocket').model, run.model)\n"
        "effects = [answer_loss(each, other).loss - answer_loss(each, own).loss for each in models]\n"
        "assert 0.25 < effects[0] < 0.31 and 0.3 < effects[1] < 0.4",
    },
}


def checked(stem: str, cell_id: str, source: str) -> str:
    """The source of a cell of the notebook `stem`, with its check."""
    return "\n".join([source, *([CHECKS[stem][cell_id]] if cell_id in CHECKS.get(stem, {}) else [])])
