"""The exercises of notebook 09: an example as token ids, its labels, its loss, a split, what a run has trained."""

import math
import random
from functools import partial

import torch

from lorabook.workbook.kit.exercise import Exercise, Mistake, attempt, cases, drawn, plain

# encode_row

MARK = "\n\nAnswer:\n"
PIECES = ("\n\nAnswer:", "\n\n", "\n    ", "?\n\n", "Why", "How", "list", "return", " x")
FIRST_BYTE = 1 + len(PIECES)


def tokenize(text):
    """Ids of text: the longest piece that fits, else one byte. Like BPE, it may merge across the seam of two texts."""
    ids = []
    while text:
        fitting = [piece for piece in PIECES if text.startswith(piece)]
        piece = max(fitting, key=len, default="")
        ids += [1 + PIECES.index(piece)] if piece else [FIRST_BYTE + byte for byte in text[0].encode()]
        text = text[len(piece) or 1 :]
    return ids


EOS, MARK_IDS = 0, tokenize(MARK)

PLAIN = ("Why is list odd", "It is not.")
SEAMS = ("How to leave a loop?", "    return x")  # "?" and the mark merge, and so do the mark and the indentation
QUOTED = ("Why does\n\nAnswer:\nnot print", "It does.")  # a post that holds the mark
LONG = ("How do I read a long file line by line", "list(x)")


def _parts(question, answer):
    return tokenize(question), [*tokenize(answer), EOS]


def _row(question, answer, max_length):
    asked, said = _parts(question, answer)
    start = asked[: max_length - len(MARK_IDS) - len(said)] + MARK_IDS
    return start + said, len(start)


def _found(ids, mark, default):
    """Where `mark` ends in `ids`."""
    ends = [i + len(mark) for i in range(len(ids)) if ids[i : i + len(mark)] == mark]
    return ends[0] if ends else default


def _sees(row, length, part):
    """A probe of one part of the pair that an answer returns: 0 for the ids, 1 for the start."""

    def probe(answer):
        pair = plain(attempt(answer, *row, tokenize, EOS, length))
        is_pair = isinstance(pair, list) and len(pair) == 2
        what = ("ids", "start")[part]
        return {f"for {row[0]!r}, {row[1]!r} and max_length = {length} ({what})": pair[part] if is_pair else pair}

    return probe


def _changed(change):
    """An answer that changes the right ids and start: change(ids, start)."""
    return lambda question, answer, tokenize, eos, max_length: change(*_row(question, answer, max_length))


def _whole(cut):
    """An answer that cuts differently: cut(question ids, answer ids, max_length) gives ids and start."""
    return lambda question, answer, tokenize, eos, max_length: cut(*_parts(question, answer), max_length)


def _joint(question, answer, tokenize, eos, max_length):
    ids = [*tokenize(question + MARK + answer), eos]
    return ids[:max_length], _found(ids, MARK_IDS, len(ids))


ENCODE_ROW = Exercise(
    name="encode_row",
    task="A question and its answer as token ids, and where the answer begins.",
    stub='''\
MARK = "\\n\\nAnswer:\\n"


def encode_row(question, answer, tokenize, eos, max_length):
    """(ids, start): the ids of question, MARK, answer and `eos`, and the place of the
    answer's first id.

    tokenize: turns text into a list of ids. Tokenize the three texts separately, then
    concatenate the ids.
    If that is longer than max_length, the end of the question is cut off. (MARK, answer
    and eos always fit.)
    """
    raise NotImplementedError
''',
    hint="Three lists of ids first. Then: how many ids may the question keep if MARK, answer and eos take the rest?",
    solution="""\
MARK = "\\n\\nAnswer:\\n"


def encode_row(question, answer, tokenize, eos, max_length):
    mark = tokenize(MARK)
    end = tokenize(answer) + [eos]
    start = tokenize(question)[: max_length - len(mark) - len(end)] + mark
    return start + end, len(start)
""",
    praise="tokenised apart, joined as ids: the answer begins where you say, whatever the texts hold.",
    reference=lambda question, answer, tokenize, eos, max_length: _row(question, answer, max_length),
    probes=(
        _sees(PLAIN, 100, 0),
        _sees(SEAMS, 100, 0),
        _sees(PLAIN, 100, 1),
        _sees(QUOTED, 100, 1),
        _sees(LONG, 30, 0),
        _sees(LONG, 30, 1),
    ),
    mistakes=(
        Mistake(
            "the end token is lost. It is how the model learns to stop: put `eos` after the answer.",
            (_changed(lambda ids, start: (ids[:-1], start)),),
        ),
        Mistake(
            "you tokenised the texts together. Where they meet pieces may merge, and the answer begins inside a token.",
            (_joint,),
        ),
        Mistake(
            "you searched for MARK's ids. A post may hold the same text: count the ids of question and MARK instead.",
            (_changed(lambda ids, start: (ids, _found(ids, MARK_IDS, 0))),),
        ),
        Mistake(
            "your start is that of MARK. The answer begins after it.",
            (_changed(lambda ids, start: (ids, start - len(MARK_IDS))),),
        ),
        Mistake(
            "your start is one off. It is the place of the answer's first id, with no shift.",
            (_changed(lambda ids, start: (ids, start - 1)), _changed(lambda ids, start: (ids, start + 1))),
        ),
        Mistake(
            "MARK is missing between question and answer.", (_whole(lambda asked, said, n: (asked + said, len(asked))),)
        ),
        Mistake(
            "you truncated the answer away: the row was cut at its end. Shorten the question.",
            (
                _whole(lambda asked, said, n: ((asked + MARK_IDS + said)[:n], len(asked + MARK_IDS))),
                _whole(lambda asked, said, n: ([*(asked + MARK_IDS + said[:-1])[: n - 1], EOS], len(asked + MARK_IDS))),
            ),
        ),
        Mistake(
            "you cut the start of the question. It loses its end, and keeps its start.",
            (
                _whole(
                    lambda asked, said, n: (
                        (asked + MARK_IDS + said)[-n:],
                        min(n, len(asked + MARK_IDS + said)) - len(said),
                    )
                ),
                _whole(lambda asked, said, n: ((asked + MARK_IDS + said)[-n:], len(asked + MARK_IDS))),
            ),
        ),
        Mistake(
            "you cut MARK off with the question's end. It has to stay between question and answer.",
            (
                _whole(
                    lambda asked, said, n: (
                        (asked + MARK_IDS)[: n - len(said)] + said,
                        len((asked + MARK_IDS)[: n - len(said)]),
                    )
                ),
            ),
        ),
        Mistake(
            "you did not cut a row that is longer than max_length.",
            (_whole(lambda asked, said, n: (asked + MARK_IDS + said, len(asked + MARK_IDS))),),
        ),
        Mistake(
            "your start is counted before the cut. The question became shorter, so the answer begins earlier.",
            (
                lambda question, answer, tokenize, eos, max_length: (
                    _row(question, answer, max_length)[0],
                    len(tokenize(question)) + len(MARK_IDS),
                ),
            ),
        ),
    ),
)


# split_rows


# 30 questions; every third has a second answer further down. A row's number is unique.
ROWS = [{"question_id": 100 + i, "row": i} for i in range(30)]
ROWS += [{"question_id": 100 + i, "row": 30 + i // 3} for i in range(0, 30, 3)]


def _questions(rows):
    return {row["question_id"] for row in rows}


def _sides(answer):
    given = [dict(row) for row in ROWS]
    train, held = answer(given, 0.2, 7)
    again, other = answer([dict(row) for row in ROWS], 0.2, 7), answer([dict(row) for row in ROWS], 0.2, 8)
    return {
        "no question is on both sides": not _questions(train) & _questions(held),
        "every row is on exactly one side": sorted(r["row"] for r in [*train, *held]) == list(range(len(ROWS))),
        "for held_out = 0.2 a fifth of the questions is held out": 4 <= len(_questions(held)) <= 8,
        "train comes first, held out second": len(train) > len(held),
        "the same seed gives the same two sides": [_questions(again[0]), _questions(again[1])]
        == [_questions(train), _questions(held)],
        "another seed gives another choice": _questions(other[1]) != _questions(held),
        "the list of rows that was given keeps its order": given == ROWS,
    }


def _split(rows, held_out, seed, chosen=None):
    ids = sorted(_questions(rows))
    random.Random(seed).shuffle(ids)
    chosen = set(ids[: round(held_out * len(ids))]) if chosen is None else chosen
    sides = ([r for r in rows if (r["question_id"] in chosen) == side] for side in (False, True))
    return tuple(sides)


def _by_row(rows, held_out, seed):
    order = list(rows)
    random.Random(seed).shuffle(order)
    cut = round(held_out * len(order))
    return order[cut:], order[:cut]


def _first_answers(rows, held_out, seed):
    one_each = list({row["question_id"]: row for row in reversed(rows)}.values())
    return _by_row(one_each, held_out, seed)


def _shuffled_in_place(rows, held_out, seed):
    random.Random(seed).shuffle(rows)
    return _split(rows, held_out, seed)


SPLIT_ROWS = Exercise(
    name="split_rows",
    task="Rows split so that no question has answers on both sides.",
    stub='''\
import random


def split_rows(rows, held_out, seed):
    """(train, held): every row on one side, and all answers to one question on the same.

    rows: list of dictionaries with a "question_id"; several rows may answer one question.
    Leave the list as it is.
    held_out: share of the questions to hold out.
    seed: decides which; the same seed gives the same split.
    """
    raise NotImplementedError
''',
    hint="Choose questions, not rows: random.Random(seed) can shuffle the sorted ids. Then sort the rows by them.",
    solution="""\
import random


def split_rows(rows, held_out, seed):
    ids = sorted({row["question_id"] for row in rows})
    random.Random(seed).shuffle(ids)
    chosen = set(ids[: round(held_out * len(ids))])
    train = [row for row in rows if row["question_id"] not in chosen]
    held = [row for row in rows if row["question_id"] in chosen]
    return train, held
""",
    praise="whole questions are held out, so the held-out loss is about questions never seen.",
    reference=_split,
    probes=(_sides,),
    mistakes=(
        Mistake(
            "one question is on both sides: you chose rows. Its answers are alike, so the held-out loss would flatter.",
            (_by_row, lambda rows, held_out, seed: _by_row(rows, held_out, 0)),
        ),
        Mistake("rows are lost: you kept one answer a question.", (_first_answers,)),
        Mistake(
            "the held-out rows are among the training rows too. Take them out of those.",
            (lambda rows, held_out, seed: (rows, _split(rows, held_out, seed)[1]),),
        ),
        Mistake(
            "your sides are swapped: `held_out` is the share of the second.",
            (
                lambda rows, held_out, seed: _split(rows, held_out, seed)[::-1],
                lambda rows, held_out, seed: _split(rows, 1 - held_out, seed),
            ),
        ),
        Mistake(
            "the same seed gave two different splits. Draw from random.Random(seed).",
            (lambda rows, held_out, seed: _split(rows, held_out, random.random()),),
        ),
        Mistake(
            "you always hold out the same questions. Shuffle the question ids with `seed`.",
            (lambda rows, held_out, seed: _split(rows, held_out, 0),),
        ),
        Mistake("you shuffled the list you were given. Shuffle a copy.", (_shuffled_in_place,)),
    ),
)


# did_it_train


LAYERS = ("c_attn", "c_fc")
ZERO_B = torch.zeros(4, 2, device="cpu")
NUDGED = drawn(4, 3, seed=0) * (1 + 1e-6)  # the base of c_attn, changed in its last digits


def _state(loss, base=0, A=0, B=None, **changes):
    """The state of two adapted layers. base, A, B: seeds; B None is zero. `changes` replaces single tensors."""
    state: dict = {"loss": loss}
    for i, layer in enumerate(LAYERS):
        state[f"{layer}.base"] = drawn(4, 3, seed=10 * base + i)
        state[f"{layer}.A"] = drawn(2, 3, seed=100 + 10 * A + i)
        state[f"{layer}.B"] = ZERO_B if B is None else 0.01 * drawn(4, 2, seed=200 + 10 * B + i)
    return state | {name.replace("__", "."): tensor for name, tensor in changes.items()}


RUNS = {
    "an ordinary run": (_state(3.1), _state(2.6, A=1, B=1)),
    "a run with nothing trained, whose loss fell by chance": (_state(3.1), _state(3.09)),
    "a run whose A changed by weight decay alone, B being zero": (_state(3.1), _state(3.1, A=1)),
    "a run in which one of two layers was trained": (_state(3.1), _state(2.9, A=1, B=1, c_fc__B=ZERO_B)),
    "a run that also changed the base": (_state(3.1), _state(2.5, base=1, A=1, B=1)),
    "a run that changed the base in the last digits": (_state(3.1), _state(2.6, A=1, B=1, c_attn__base=NUDGED)),
    "a run with too high a rate, whose loss rose": (_state(3.1), _state(3.4, A=1, B=1)),
    "a resumed run that took no step": (_state(2.6, A=1, B=1), _state(2.6, A=1, B=1)),
    "a resumed run that went on": (_state(2.6, A=1, B=1), _state(2.5, A=2, B=2)),
    "a run with A frozen on purpose": (_state(3.1), _state(2.8, B=1)),
    "a run that ended in NaN": (_state(3.1), _state(math.nan, A=1, B=1, c_attn__B=ZERO_B * math.nan)),
}


def _decide(before, after, part="B", which=all, moved=None, kept=torch.equal, finite=True, falls=False):
    """A right answer whose decisions can be changed one at a time."""
    pairs = [(before[f"{layer}.{part}"], after[f"{layer}.{part}"]) for layer in LAYERS]
    bases = [(before[f"{layer}.base"], after[f"{layer}.base"]) for layer in LAYERS]
    return (
        which(moved(a, b) if moved else not torch.equal(a, b) for a, b in pairs)
        and all(kept(a, b) for a, b in bases)
        and not (finite and not all(bool(b.isfinite().all()) for _, b in pairs))
        and not (falls and not after["loss"] < before["loss"])
    )


def _any_base(a, b):
    return True


DID_IT_TRAIN = Exercise(
    name="did_it_train",
    task="Whether a LoRA run trained its adapter, the whole adapter and nothing but the adapter.",
    stub='''\
import torch


def did_it_train(before, after):
    """True if every layer's B changed and is finite, and no base weight changed by a
    single bit.

    before, after: dictionaries with "loss", a number, and for each layer, "c_attn" and
    "c_fc", the tensors "c_attn.base", "c_attn.A", "c_attn.B" and so on. `before` may be
    a fresh adapter or one that was trained already.
    Whether the run made the model better is another question.
    """
    raise NotImplementedError
''',
    hint="A is random from the start, and weight decay moves it without a gradient. What is zero until one comes?",
    solution="""\
import torch


def did_it_train(before, after):
    layers = {name.split(".")[0] for name in before if name != "loss"}
    return all(
        not torch.equal(after[f"{layer}.B"], before[f"{layer}.B"])
        and bool(after[f"{layer}.B"].isfinite().all())
        and torch.equal(after[f"{layer}.base"], before[f"{layer}.base"])
        for layer in layers
    )
""",
    praise="B moved everywhere and the base nowhere: the run did what it says. Only now look at the loss.",
    reference=_decide,
    probes=(lambda answer: {f"for {run}": attempt(answer, *states) for run, states in RUNS.items()},),
    mistakes=(
        Mistake(
            "you looked at A. It is random from the start and moves under weight decay alone: look at B, which starts "
            "at zero.",
            (
                partial(_decide, part="A"),
                partial(_decide, part="A", kept=_any_base),
                partial(_decide, part="A", which=any),
            ),
        ),
        Mistake(
            "you looked at the base only. That it stayed is necessary, but it also stays when nothing is trained.",
            (partial(_decide, moved=lambda a, b: True, finite=False),),
        ),
        Mistake(
            "you looked at the loss only. It can fall by chance or because the base moved, and rise though B moved.",
            (
                lambda before, after: after["loss"] < before["loss"],
                lambda before, after: after["loss"] != before["loss"],
            ),
        ),
        Mistake(
            "you also asked for a falling loss. A run can train and get worse; that is for the next question.",
            (partial(_decide, falls=True), partial(_decide, falls=True, finite=False)),
        ),
        Mistake(
            "you were content with one layer. A layer whose B stayed was cut off from the gradient.",
            (partial(_decide, which=any), partial(_decide, which=any, finite=False)),
        ),
        Mistake(
            "you asked whether B is zero, not whether it changed. In a resumed run it is not zero to begin with.",
            (
                partial(_decide, moved=lambda a, b: bool(b.any())),
                partial(_decide, moved=lambda a, b: bool(b.any()), finite=False),
            ),
        ),
        Mistake(
            "you did not look at the base. If it changed, it was trained too, and an adapter file would lack that.",
            (partial(_decide, kept=_any_base), partial(_decide, kept=_any_base, finite=False)),
        ),
        Mistake(
            "you compared the base with a tolerance. It is frozen, so it must be the same to the bit: torch.equal.",
            (partial(_decide, kept=torch.allclose), partial(_decide, kept=torch.allclose, finite=False)),
        ),
        Mistake("you took NaN for training. B has to be finite.", (partial(_decide, finite=False),)),
    ),
)


# answer_labels


def _labels(ids, keep):
    """The ids at the places where `keep` holds, -100 elsewhere."""
    return [token if keep(t) else -100 for t, token in enumerate(ids)]


ANSWER_LABELS = Exercise(
    name="answer_labels",
    task="The labels of one padded sequence: the answer's ids at the answer's positions, -100 everywhere else.",
    stub='''\
def answer_labels(ids, start, length):
    """Labels for a model that shifts them itself, one label for every id.

    ids: list of token ids: question, answer, end token (id 0), then padding
    (id 0 as well).
    start: where the answer begins.
    length: how many tokens are real; what follows is padding.
    """
    raise NotImplementedError
''',
    hint="Three pieces: the question's positions, the answer's, the padding's. The value of an id does not matter.",
    solution="""\
def answer_labels(ids, start, length):
    question, padding = [-100] * start, [-100] * (len(ids) - length)
    return question + ids[start:length] + padding
""",
    praise="the answer and its end token carry labels; question and padding do not.",
    reference=lambda ids, start, length: _labels(ids, lambda t: start <= t < length),
    probes=(
        cases(
            lambda ids, start, length: f"for {len(ids)} ids, start = {start}, length = {length}",
            ([11, 12, 13, 21, 0, 22, 0], 3, 7),  # an end token inside the answer too
            ([11, 12, 13, 21, 22, 23, 0, 0, 0, 0], 3, 7),
            ([11, 0, 13, 14, 0, 0, 0], 4, 5),  # an answer that is nothing but the end
            ([11, 21, 22, 23, 24], 1, 5),  # cut to the maximum length: no end token, no padding
        ),
    ),
    mistakes=(
        Mistake(
            "you shifted the labels. The model shifts them itself, so they would be shifted twice: a label "
            "stands at its own token's position.",
            (
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start - 1 <= t < length - 1),
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start <= t < length - 1),
                lambda ids, start, length: _labels([*ids[1:], -100], lambda t: start <= t < length),
                lambda ids, start, length: _labels([-100, *ids[:-1]], lambda t: start < t <= length),
            ),
        ),
        Mistake(
            "you masked by id, so the end token has no label and the model never learns to stop. Mask by position.",
            (lambda ids, start, length: _labels(ids, lambda t: t >= start and ids[t] != 0),),
        ),
        Mistake(
            "you put the answer's ids at the question's positions. Label t belongs to id t.",
            (
                lambda ids, start, length: ids[start:length] + [-100] * (len(ids) - length + start),
                lambda ids, start, length: ids[start:] + [-100] * start,
            ),
        ),
        Mistake(
            "you kept the padding. It would teach the model to repeat the end token; -100 from `length` on.",
            (lambda ids, start, length: _labels(ids, lambda t: t >= start),),
        ),
        Mistake(
            "you kept the question. Then the model also learns to write questions; -100 before `start`.",
            (lambda ids, start, length: _labels(ids, lambda t: t < length),),
        ),
        Mistake(
            "you labelled every token. Neither question nor padding has a label.", (lambda ids, start, length: ids,)
        ),
        Mistake(
            "you dropped the last real token. That is the end token, which teaches the model to stop.",
            (lambda ids, start, length: _labels(ids, lambda t: start <= t < length - 1),),
        ),
        Mistake(
            "you dropped the first token of the answer, at position `start`.",
            (lambda ids, start, length: _labels(ids, lambda t: start < t < length),),
        ),
        Mistake(
            "you masked the answer and labelled the question: the other way round.",
            (
                lambda ids, start, length: _labels(ids, lambda t: t < start),
                lambda ids, start, length: _labels(ids, lambda t: not start <= t < length),
            ),
        ),
        Mistake(
            "you filled with 0, which is a token. The loss leaves out -100 and nothing else.",
            (lambda ids, start, length: [i if start <= t < length else 0 for t, i in enumerate(ids)],),
        ),
        Mistake(
            "you gave the mask. Labels are the ids where the mask is true, and -100 elsewhere.",
            (lambda ids, start, length: [start <= t < length for t in range(len(ids))],),
        ),
    ),
)


EXERCISES = (ENCODE_ROW, ANSWER_LABELS, SPLIT_ROWS, DID_IT_TRAIN)
