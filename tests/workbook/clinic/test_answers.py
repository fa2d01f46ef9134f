"""Answers to several prompts at once."""

from lorabook.models import load_model
from lorabook.workbook.clinic.answers import write_answers


def test_answers_written_together_are_those_written_alone():
    """Greedy ones: padding on the left changes nothing."""
    model = load_model("pocket", device="cpu").model
    prompts = ["Question: How do I sort a list of numbers in Python?\nAnswer:", "Question: Why?\nAnswer:"]
    options = {"max_new_tokens": 8, "do_sample": False}
    assert write_answers(model, prompts, **options) == [write_answers(model, [each], **options)[0] for each in prompts]


def test_an_answer_ends_with_its_end_token():
    model = load_model("pocket", device="cpu").model
    end = load_model("pocket", device="cpu").tokenizer.eos_token_id
    ending = model.lm_head.weight.new_zeros(model.lm_head.weight.shape)
    ending[end] = 1e3  # the likeliest token wherever the hidden state's sum is positive
    answers = write_answers(model, ["Question: Why?\nAnswer:"], max_new_tokens=4, do_sample=False)
    assert len(answers[0]) == 4 and end not in answers[0]
    model.generation_config.suppress_tokens = [token for token in range(4096) if token != end]
    assert write_answers(model, ["Question: Why?\nAnswer:"] * 2, max_new_tokens=4, do_sample=False) == [[end]] * 2
