"""What is wrong with an adapter, seen from the files of its folder alone.

Each check is for `findings`, which joins them to those of a run. A base that is no folder on this machine is not looked
for on the hub.
"""

import re
from collections import Counter
from collections.abc import Callable
from os.path import isdir

import torch

from lorabook.diagnosis.adapter_folder import PICKLED, Adapter
from lorabook.diagnosis.read_run import Run
from lorabook.peft_format.adapter_config import CONFIG_NAME, ends, targeted_among
from lorabook.peft_format.adapter_file import WEIGHTS_NAME

Seen = tuple[bool | None, str]
# A key that PEFT puts where it belongs; under others, such as those of a compiled model, it loads nothing.
PLACE = re.compile(
    r"base_model\.model\.(?!_orig_mod\.|module\.)"
    r".+\.(lora_[AB]\.(weight|bias)|lora_embedding_[AB]|lora_magnitude_vector(\.weight)?)"
)
LAYER = re.compile(r"\.(\d+)\.")
DEPTH = ("num_hidden_layers", "n_layer", "num_layers")  # in the config of a base
LEAST, MOST = 0.125, 4.0  # α/r of published recipes: 32/256 to 32/8
REDUCED = (torch.float16, torch.bfloat16)
VOCABULARY = re.compile(r"\.(embed_tokens|wte|word_embeddings|embed_in|lm_head)\.")
ROUNDED = re.compile(r"(?i)(4|8)-?bit|gptq|awq")  # in the name of a base


def _of_adapter(check: Callable[[Adapter], Seen]) -> Callable[[Run], Seen]:
    return lambda run: check(run.adapter) if run.adapter else (None, "there is no adapter in the folder")


def _of_weights(check: Callable[[Adapter], Seen]) -> Callable[[Run], Seen]:
    return _of_adapter(lambda a: check(a) if a.factors else (None, "the folder has no LoRA factors that can be read"))


def _pickled(adapter: Adapter) -> Seen:
    if adapter.pickled and adapter.tensors is None:
        return True, f"the weights are only in {PICKLED}, a pickle, which can run code and was not opened"
    return False, f"there is {'a' if adapter.pickled else 'no'} {PICKLED}, and no pickle was opened"


def _empty(adapter: Adapter) -> Seen:
    if adapter.tensors is None:
        return (None if adapter.pickled else True), f"there is no {WEIGHTS_NAME}"
    return not adapter.factors, f"{len(adapter.factors)} of {len(adapter.tensors)} tensors in the file are LoRA factors"


def _misplaced(adapter: Adapter) -> Seen:
    assert adapter.tensors is not None
    config, modules, settings = adapter.config, set(adapter.modules), adapter.settings
    keys = [key for key in adapter.tensors if re.search("lora_(A|B|embedding)", key) and not PLACE.fullmatch(key)]
    # A is (r, k), B is (d, r); DeepSpeed's shards are flat or empty
    shaped = [
        f"{f.module}: {f.which} is {tuple(f.values.shape)}"
        for f in adapter.factors
        if f.values.shape[f.which == "B" :][:1] != (settings.for_module(f.module).r,)
    ]
    alone = [name for name, count in Counter(f.module for f in adapter.factors).items() if count != 2]
    others = [] if config.get("target_parameters") else sorted(modules - targeted_among(modules, config))
    faults = {
        f"of {len(adapter.tensors)} keys are not laid out as PEFT loads them": keys,
        f"of {len(adapter.factors)} factors are not of rank {config['r']}": shaped,
        f"of {len(modules)} modules have only one of A and B": alone,
        f"of {len(modules)} modules are not among target_modules": others,
    }
    seen = ", ".join(f"{len(found)} {what} ({found[0]})" for what, found in faults.items() if found)
    return bool(seen), seen or f"all {len(adapter.tensors)} keys and their shapes fit {CONFIG_NAME}"


def _unmatched(adapter: Adapter) -> Seen:
    targets, found = adapter.config["target_modules"], {end for name in adapter.modules for end in ends(name)}
    if isinstance(targets, str):
        return False, f"the pattern {targets!r} chose {len(adapter.modules)} modules"
    missed = sorted(set(targets) - found)
    return bool(missed), (
        f"{len(missed)} of {len(targets)} target_modules have no factors in the file{': ' if missed else ''}"
        f"{', '.join(missed)}"
    )


def _in_part(adapter: Adapter) -> Seen:
    numbers = {int(m[1]) for name in adapter.modules if (m := LAYER.search(name))}
    if not numbers:
        return None, "no adapted module is in a numbered layer"
    config = adapter.base.config if adapter.base else {}
    depth = next((config[key] for key in DEPTH if key in config), max(numbers) + 1)
    chosen = adapter.config.get("layers_to_transform")
    seen = f"LoRA is in {len(numbers)} of {depth}{'' if config else ' or more'} layers, layers_to_transform is {chosen}"
    return len(numbers) < depth or chosen not in (None, []), seen


def _attention_alone(adapter: Adapter) -> Seen:
    last = sorted({name.rsplit(".", 1)[-1] for name in adapter.modules})
    elsewhere = [name for name in adapter.modules if not re.search("attn|attention", name)]
    return not elsewhere, f"LoRA is on {', '.join(last)}, with {len(elsewhere)} modules outside attention"


def _whole(adapter: Adapter) -> Seen:
    sizes = {key: t.numel() * t.element_size() for key, t in (adapter.tensors or {}).items()}
    whole = [
        key
        for key, tensor in (adapter.tensors or {}).items()
        if tensor.ndim > 1 and "lora_" not in key and "trainable_tokens" not in key
    ]
    share = sum(sizes[key] for key in whole) / max(1, sum(sizes.values()))
    names = ", ".join(key.replace(".base_layer", "").split(".")[-2] for key in whole)
    return bool(whole), f"in full in the file: {names or 'none'}, {share:.0%} of its bytes"


def _scaled(adapter: Adapter) -> Seen:
    config = adapter.settings
    root = "√" if config.rslora else ""
    rule = f"α/{root}r = {config.alpha:g}/{root}{config.r} = {config.scaling:g}"
    return not LEAST <= config.scaling <= MOST, rule


def _reduced(adapter: Adapter) -> Seen:
    kinds = Counter(str(f.values.dtype).removeprefix("torch.") for f in adapter.factors)
    found = ", ".join(f"{count} of {len(adapter.factors)} factors are {kind}" for kind, count in kinds.items())
    return any(f.values.dtype in REDUCED for f in adapter.factors), found


def _baseless(adapter: Adapter) -> Seen:
    name = adapter.config.get("base_model_name_or_path")
    if not name:
        known = "a" if adapter.saved_on else "no"
        return not adapter.saved_on, f"base_model_name_or_path is empty, the file has {known} fingerprint of its base"
    local = re.match(r"[./~\\]|[A-Za-z]:", name) or name.count("/") > 1
    if local and not isdir(name):
        return True, f"base_model_name_or_path is {name}, and there is no such folder here"
    return False, f"base_model_name_or_path is {name}"


def _resized(adapter: Adapter) -> Seen:
    tokens, base = adapter.files.vocabulary, adapter.base.config.get("vocab_size") if adapter.base else None
    tables = [(key, t) for key, t in (adapter.tensors or {}).items() if VOCABULARY.search(key)]
    saved = {t.shape[0] for key, t in tables if "lora_" not in key}
    saved |= {t.shape[1] for key, t in tables if key.endswith("lora_embedding_A")}
    rows = saved | ({base} if base else set())
    if not tokens or not rows:
        return None, "the folder has no tokenizer, or neither it nor its base tells how many rows the embedding has"
    seen = (
        f"the tokenizer in the folder has {tokens:,} tokens, the base {f'{base:,}' if base else 'unknown'} rows for "
        f"them, the adapter's file {' and '.join(f'{n:,}' for n in saved) or 'none'}"
    )
    return tokens > min(rows) or len(rows) > 1, seen


def _templated(adapter: Adapter) -> Seen:
    if not adapter.files.tokenizer or not adapter.base or not adapter.base.tokenizer:
        return None, "no tokenizer is in the folder, or none beside a base on this machine"
    mine, base = adapter.files.template, adapter.base.template
    seen = f"the chat template in the folder has {len(mine)} characters, that of the base {len(base)}"
    return mine != base, seen


def _padded(run: Run) -> Seen:
    tokenizer = run.adapter.files.tokenizer if run.adapter else {}
    if run.writer == "TRL":
        return False, "TRL masks padding by its length"
    if run.writer != "Trainer" or not tokenizer:
        return None, "only a folder of Trainer's with a tokenizer tells"
    pad, eos = tokenizer.get("pad_token"), tokenizer.get("eos_token")
    return pad is not None and pad == eos, f"pad_token is {pad!r}, eos_token is {eos!r}"


def _in_bits(adapter: Adapter) -> Seen:
    name = adapter.config.get("base_model_name_or_path") or ""
    rounded = bool(adapter.base and adapter.base.config.get("quantization_config"))
    seen = (
        f"the config of the base has {'a' if rounded else 'no'} quantization_config" if adapter.base else "by its name"
    )
    return rounded or bool(ROUNDED.search(name)), f"the base is {name or 'not named'}, {seen}"


def describe(adapter: Adapter) -> str:
    """The adapter in a line: rank, α, modules, base."""
    settings, last = adapter.settings, ", ".join(sorted({name.rsplit(".", 1)[-1] for name in adapter.modules}))
    base = adapter.config.get("base_model_name_or_path") or "a base without a name"
    return f"r = {settings.r}, α = {settings.alpha:g} on {len(adapter.modules)} modules ({last or 'none'}) of {base}"


CHECKS: tuple[tuple[str, Callable[[Run], Seen], str], ...] = (
    (
        "pickled weights",
        _of_adapter(_pickled),
        "On a machine that may run what is in it: PeftModel.from_pretrained(base, DIR).save_pretrained(NEW), which "
        "writes safetensors.",
    ),
    (
        "adapter empty",
        _of_adapter(_empty),
        "PEFT loads it with a warning and answers as the base: call save_pretrained on the PeftModel itself, without a "
        "state_dict of another model, and with DeepSpeed ZeRO-3 gather the parameters first.",
    ),
    (
        "keys do not match",
        _of_weights(_misplaced),
        "PEFT ignores a key that it does not expect, and the model answers as its base: save again with the "
        "PeftModel's own save_pretrained, not through DDP or torch.compile, and leave names and files as they are.",
    ),
    (
        "target matches nothing",
        _of_weights(_unmatched),
        "PEFT passes over a name that no module has: take names that print(model) shows, and look at "
        "model.targeted_module_names.",
    ),
    (
        "some layers left out",
        _of_weights(_in_part),
        "Leave layers_to_transform out, unless it was meant.",
    ),
    (
        "attention only",
        _of_weights(_attention_alone),
        'If it learned too little, target_modules="all-linear" adapts the MLP too.',
    ),
    (
        "full matrices saved",
        _of_adapter(_whole),
        "If no token was added, leave them out of target_modules and modules_to_save and save with "
        "save_embedding_layers=False; for a few new tokens, trainable_token_indices stores their rows alone.",
    ),
    (
        "unusual α/r",
        _of_adapter(_scaled),
        "It acts like a factor on the learning rate: fine if that was tuned with it, else set lora_alpha to r or 2r.",
    ),
    (
        "half precision",
        _of_weights(_reduced),
        "That will do for inference. Train factors in fp32 (autocast_adapter_dtype=True), where small steps are not "
        "rounded away.",
    ),
    (
        "base not found",
        _of_adapter(_baseless),
        "Write the hub id of the base, or its folder, into adapter_config.json: loaders take the base from there.",
    ),
    (
        "tokenizer resized",
        _of_adapter(_resized),
        "Before the adapter is loaded, load the tokenizer from its folder and call "
        "model.resize_token_embeddings(len(tokenizer)); rows that are not in the file are random.",
    ),
    (
        "chat template changed",
        _of_adapter(_templated),
        "Prompt with the tokenizer of this folder, apply_chat_template(..., add_generation_prompt=True): the base's "
        "own makes other prompts than those trained on.",
    ),
    (
        "pad token is EOS",
        _padded,
        "DataCollatorForLanguageModeling masks by that id, so no EOS is ever a label, and the model never stops: give "
        "padding a token of its own, or mask by length.",
    ),
    (
        "quantized base",
        _of_adapter(_in_bits),
        "Do not merge into it, which rounds part of the update away: dequantize it and merge into the result.",
    ),
)
