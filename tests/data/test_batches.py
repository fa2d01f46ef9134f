"""Text to ids to batches; the label shift itself is held against transformers in test_loss.py."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lorabook.data.batches import StepPlan, collate, epoch_plan, length_batches, share_of_rank, split_micro_batch
from lorabook.data.examples import ANSWER_MARK, Example, encode, encode_all, encode_prompt, prompt, tokenize
from lorabook.data.split import split
from lorabook.data.stackoverflow import load
from lorabook.errors import DataError
from lorabook.models.load import POCKET_FOLDER
from tests.kit.logs import logged
from tests.kit.text import END, TEXT, pair, tokenizer

texts = st.text(st.characters(codec="utf-8"), max_size=80) | st.sampled_from([*TEXT, END, f"a {END} b", ANSWER_MARK])
lengths_lists = st.lists(st.integers(2, 200), min_size=1, max_size=120)


def decode(ids: list[int] | tuple[int, ...]) -> str:
    return tokenizer().decode(list(ids), clean_up_tokenization_spaces=False)


@given(question=texts, answer=texts)
@settings(max_examples=100, deadline=None)
def test_prompt_and_answer_come_back_as_they_were(question, answer):
    row = pair(question, answer)
    e = encode(row, tokenizer(), 10_000)
    assert decode(e.input_ids[: e.answer_start]) == prompt(row)
    assert decode(e.input_ids[e.answer_start :]) == answer + END
    assert e.input_ids[-1] == tokenizer().eos_token_id
    assert tokenizer().eos_token_id not in e.input_ids[:-1]  # the name of the token in a post stays text


@given(question=texts, answer=texts, max_length=st.integers(24, 120))
@settings(max_examples=100, deadline=None)
def test_a_row_too_long_loses_the_end_of_its_question_then_of_its_answer(question, answer, max_length):
    tok, row = tokenizer(), pair(question, answer)
    whole, cut = encode(row, tok, 10_000), encode(row, tok, max_length)
    asked, said = whole.input_ids[: whole.answer_start], whole.input_ids[whole.answer_start :]
    mark = tuple(tokenize(ANSWER_MARK, tok))
    assert len(cut.input_ids) == min(len(whole.input_ids), max_length)
    assert cut.input_ids[: cut.answer_start][-len(mark) :] == mark
    kept = cut.input_ids[: cut.answer_start - len(mark)]
    assert kept == asked[: len(kept)]  # the start of the question, without a gap
    assert cut.input_ids[cut.answer_start :] == said[: cut.label_tokens]
    if cut.label_tokens < len(said):  # the answer was cut: only once the question has at most half of the room
        assert cut.answer_start <= max(max_length // 2, len(mark))
        assert tok.eos_token_id not in cut.input_ids
    if len(kept) < len(asked) - len(mark):
        assert len(cut.input_ids) == max_length  # no more of the question was cut than had to be


def test_what_is_cut_first():
    tok, answer = tokenizer(), TEXT[1]
    size = len(tokenize(answer, tok)) + 1
    long_question = encode(pair("word " * 500, answer), tok, size + 40)
    assert decode(long_question.input_ids[long_question.answer_start :]) == answer + END
    assert long_question.answer_start == 40
    both = encode(pair("word " * 500, "reply " * 500), tok, 100)
    assert (both.answer_start, both.label_tokens) == (50, 50)
    short_question = encode(pair("Why?", "reply " * 500, title=""), tok, 100)
    assert decode(short_question.input_ids[: short_question.answer_start]) == "Question: Why?" + ANSWER_MARK
    assert len(short_question.input_ids) == 100


def test_no_warning_about_a_long_post_reaches_the_reader(recwarn):
    fresh = tokenizer.__wrapped__()  # transformers warns once per tokenizer
    fresh.model_max_length = 16
    with logged() as said:
        tokenize("word " * 500, fresh)
        assert said == [] and recwarn.list == []
        fresh("word " * 500)
        assert "1501 > 16" in said[0]  # what would have been said


def test_a_prompt_alone_is_cut_in_its_question():
    ids = encode_prompt(pair("word " * 500), tokenizer(), 30)
    assert len(ids) == 30 and decode(ids).endswith(ANSWER_MARK)


@pytest.mark.parametrize("max_length", [1, 2])
def test_a_length_without_room_for_an_answer_is_refused(max_length):
    assert len(tokenize(ANSWER_MARK, tokenizer())) >= 2
    with pytest.raises(DataError, match=f"maximum length of {max_length} tokens leaves no room"):
        encode(pair(), tokenizer(), max_length)


def test_empty_answers_are_left_out():
    rows = [pair(answer=" \n"), pair(question_id=7), pair(answer="")]
    assert [e.question_id for e in encode_all(rows, tokenizer(), 200)] == [7]


@pytest.mark.parametrize("start", [-1, 0, 3, 4])
def test_a_row_without_prompt_or_without_answer_is_refused(start):
    with pytest.raises(DataError, match=f"starts at token {start} of 3"):
        Example((5, 6, 7), start, 1)


@st.composite
def example_lists(draw):
    rows = []
    for i in range(draw(st.integers(1, 6))):
        ids = draw(st.lists(st.integers(0, 9), min_size=2, max_size=12))  # ids equal to the padding's are likely
        rows.append(Example(tuple(ids), draw(st.integers(1, len(ids) - 1)), i))
    return rows


@given(example_lists(), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_labels_are_the_next_tokens_of_answers_and_never_padding(rows, pad_id):
    batch = collate(rows, pad_id)
    expected = []  # (row, column, label) read off the rows one by one
    for i, e in enumerate(rows):
        assert batch.input_ids[i, : len(e.input_ids)].tolist() == list(e.input_ids)
        assert (batch.input_ids[i, len(e.input_ids) :] == pad_id).all()
        expected += [(i, t, e.input_ids[t + 1]) for t in range(len(e.input_ids) - 1) if t + 1 >= e.answer_start]
    width = batch.input_ids.shape[1]
    where = zip(batch.label_positions.tolist(), batch.labels.tolist(), strict=True)
    assert [(p // width, p % width, y) for p, y in where] == expected
    assert len(batch.labels) == sum(e.label_tokens for e in rows)
    assert batch.input_ids.dtype == batch.label_positions.dtype == batch.labels.dtype == torch.long


def test_the_end_token_is_a_label_inside_an_answer_too_and_at_its_end():
    """Padding shares the end token's id, so masking by id would drop both."""
    batch = collate([Example((5, 6, 0, 7, 0), 2, 1), Example((5, 8, 0), 1, 2)], pad_id=0)
    assert batch.labels.tolist() == [0, 7, 0, 8, 0]
    assert batch.label_positions.tolist() == [1, 2, 3, 5, 6]


def flat(plan: list[list[list[int]]]) -> list[int]:
    return [row for step in plan for micro in step for row in micro]


@given(lengths_lists, st.integers(50, 500), st.integers(50, 2000), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_an_epoch_takes_every_row_once_within_both_budgets(lengths, micro_tokens, batch_tokens, seed, epoch):
    plan = epoch_plan(lengths, micro_tokens, batch_tokens, seed, epoch)
    assert sorted(flat(plan)) == list(range(len(lengths)))
    assert all(step and all(step) for step in plan)
    for step in plan:
        rows = flat([step])
        assert len(rows) == 1 or len(rows) * max(lengths[i] for i in rows) <= batch_tokens
        for micro in step:
            assert len(micro) == 1 or len(micro) * max(lengths[i] for i in micro) <= micro_tokens


@given(
    lengths=lengths_lists,
    micro_tokens=st.integers(50, 500),
    batch_tokens=st.integers(50, 2000),
    seed=st.integers(0, 2**32),
    epochs=st.integers(1, 4),
    world=st.integers(1, 4),
    start=st.integers(0, 10**6),
)
@settings(max_examples=200, deadline=None)
def test_every_epoch_of_a_run_takes_every_example_once(lengths, micro_tokens, batch_tokens, seed, epochs, world, start):
    """As the loop runs it: numbered steps, each cut among the processes; begun anew at any step after a resume."""

    def run(steps: range) -> list[list[int]]:
        plan = StepPlan(lengths, micro_tokens, batch_tokens * world, seed)
        shares = [[share_of_rank(plan[step], rank, world) for rank in range(world)] for step in steps]
        return [[i for share in step for micro in share for i in micro] for step in shares]

    plan = StepPlan(lengths, micro_tokens, batch_tokens * world, seed)
    ends = [plan.steps_in(epoch) for epoch in range(epochs + 1)]
    taken = run(range(ends[-1]))
    for epoch, (begin, end) in enumerate(itertools.pairwise(ends)):
        assert sorted(i for step in taken[begin:end] for i in step) == list(range(len(lengths)))
        assert [plan.locate(step) for step in range(begin, end)] == [(epoch, i) for i in range(end - begin)]
    resumed_at = start % ends[-1]
    assert run(range(resumed_at, ends[-1])) == taken[resumed_at:]


@pytest.mark.seconds
def test_three_epochs_of_the_bundled_sample_are_whole_for_fifty_seeds():
    """With short steps their number differs with epoch and seed: epoch 0's, taken for all, would lose examples."""
    tokenizer = AutoTokenizer.from_pretrained(POCKET_FOLDER)
    pairs, _ = split(load("sample").pairs)
    lengths = [len(e.input_ids) for e in encode_all(pairs, tokenizer, 512)]
    counts = set()
    for seed in range(50):
        plan = StepPlan(lengths, 512, 1024, seed)
        taken = [i for step in range(plan.steps_in(3)) for micro in plan[step] for i in micro]
        assert sorted(taken) == sorted([*range(len(lengths))] * 3)
        counts.add(plan.steps_in(2) - plan.steps_in(1) - plan.steps_in(1))
    assert len(counts) > 1


@given(lengths_lists, st.integers(50, 500), st.integers(50, 500))
@settings(max_examples=50, deadline=None)
def test_the_micro_batch_size_does_not_change_which_rows_form_a_step(lengths, one, other):
    plans = [epoch_plan(lengths, micro, 600, 1, 2) for micro in (one, other)]
    assert [sorted(flat([step])) for step in plans[0]] == [sorted(flat([step])) for step in plans[1]]


def test_the_plan_depends_on_seed_and_epoch_alone():
    lengths = np.random.default_rng(0).integers(10, 100, 200).tolist()
    torch.manual_seed(1)
    np.random.seed(1)
    plan = epoch_plan(lengths, 300, 600, 5, 0)
    torch.manual_seed(2)
    np.random.seed(2)
    assert plan == epoch_plan(lengths, 300, 600, 5, 0)
    others = [epoch_plan(lengths, 300, 600, seed, epoch) for seed, epoch in [(5, 1), (6, 0)]]
    assert flat(others[0]) != flat(others[1])  # seed and epoch are not added up: seeds 5 and 6 share no epoch
    assert all(flat(other) != flat(plan) for other in others)
    grouped = [{frozenset(flat([step])) for step in p} for p in (plan, *others)]
    assert len(grouped[0] & grouped[1]) < len(plan) / 4  # not the same batches in another order


def test_neighbours_in_length_share_a_batch():
    """Bucketing earns its keep: less padding than batches of the same size drawn at random."""
    lengths = np.random.default_rng(0).lognormal(5, 0.7, 500).astype(int).clip(10, 512).tolist()
    micros = [micro for step in epoch_plan(lengths, 2048, 4096, 0, 0) for micro in step]

    def padded(groups: list[list[int]]) -> int:
        return sum(len(g) * max(lengths[i] for i in g) for g in groups)

    order = np.random.default_rng(1).permutation(len(lengths))
    at_random = [list(g) for g in np.array_split(order, len(micros))]
    assert padded(micros) < 1.15 * sum(lengths) < 1.3 * sum(lengths) < padded(at_random)


def test_evaluation_batches_are_sorted_and_repeat():
    lengths = [9, 3, 7, 3, 20]
    assert length_batches(lengths, 14) == length_batches(lengths, 14) == [[1, 3], [2], [0], [4]]
    assert length_batches([], 14) == []


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True), st.integers(1, 64))
def test_a_split_micro_batch_keeps_its_rows(rows, parts):
    pieces = split_micro_batch(rows, parts)
    assert [row for piece in pieces for row in piece] == rows
    assert len(pieces) == min(parts, len(rows)) and all(pieces)
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3), min_size=1, max_size=9), st.integers(1, 5))
def test_processes_get_equal_counts_and_together_everything(micro, world):
    shares = [share_of_rank(micro, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(m for share in shares for m in share if m) == sorted(micro)
    assert sum(m == [] for share in shares for m in share) < world


def test_only_one_step_of_an_epoch_may_be_small():
    lengths = [60 + (7 * i) % 41 for i in range(400)]
    filled = [sum(lengths[i] for rows in step for i in rows) for step in epoch_plan(lengths, 500, 1000, 0, 0)]
    assert sum(tokens < 600 for tokens in filled) <= 1
