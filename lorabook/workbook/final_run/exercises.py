"""The exercises of notebook 09: an example as token ids, its labels."""

from lorabook.workbook.kit.exercise import Exercise, Mistake, attempt, cases, plain

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
    """(ids, start): the ids of question, MARK, answer and `eos`, and the index of the
    answer's first id. (`question` begins with "Question: " already.)

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
            "your start is one off. It is the index of the answer's first id, with no shift.",
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


EXERCISES = (ENCODE_ROW, ANSWER_LABELS)
