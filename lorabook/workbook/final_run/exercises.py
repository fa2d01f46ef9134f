"""The exercises of notebook 09: the loss of a guess, the labels of an answer."""

import math

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

# guess_loss


def _guess(one=math.log, total=lambda one, lengths: len(lengths) * one, tokens=sum):
    """An answer whose decisions can be changed one at a time: the loss of one guess, of all of them, the tokens."""
    return lambda options, lengths: total(one(options), lengths) / tokens(lengths)


GUESS_LOSS = Exercise(
    name="guess_loss",
    task="The mean loss per token of a model that guesses one token in each answer and is certain of all others.",
    stub='''\
def guess_loss(options, lengths):
    """The mean loss per token. In each answer, one token is a guess among `options`
    equally likely ones, and the loss of all others is zero.

    lengths: how many tokens each answer has, for example [11, 12, 10].
    """
    raise NotImplementedError
''',
    hint="What is −ln p for the guess? Each answer has one. Add them up, and divide by the number of all tokens.",
    solution="""\
import math


def guess_loss(options, lengths):
    return len(lengths) * math.log(options) / sum(lengths)
""",
    praise="compare a loss with that of a guess before you trust it.",
    reference=_guess(),
    probes=(
        cases(
            lambda options, lengths: f"for {options} options and lengths = {lengths}",
            (8, [11, 12, 10]),
            (2, [1, 30]),
            (50, [7]),
            (1, [4, 9]),  # nothing to guess
        ),
    ),
    mistakes=(
        Mistake(
            "you averaged each answer first, and then those means. Average over all tokens: a long answer weighs more.",
            (_guess(total=lambda one, lengths: sum(one / length for length in lengths), tokens=len),),
        ),
        Mistake("your logarithm has another base: the loss is −ln p.", (_guess(one=math.log2), _guess(one=math.log10))),
        Mistake("your sign is off: −ln(1/options) is positive.", (_guess(one=lambda options: -math.log(options)),)),
        Mistake("you counted one guess. Each answer has one.", (_guess(total=lambda one, lengths: one),)),
        Mistake("you gave the sum. Divide it by the number of all tokens.", (_guess(tokens=lambda lengths: 1),)),
        Mistake(
            "that's the loss of the guess alone. Average over all tokens, most of which have a loss of zero.",
            (_guess(tokens=len),),
        ),
        Mistake(
            "you took the probability for the loss. The loss is −ln p.",
            (_guess(one=lambda options: 1 / options), _guess(one=lambda options: 1 - 1 / options)),
        ),
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


EXERCISES = (GUESS_LOSS, ANSWER_LABELS)
