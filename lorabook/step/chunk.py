"""The size of a chunk: how many label positions pass the output head at once."""

CHUNK_LOGITS = 2**23  # logits alive at once: 32 MiB in fp32
TILE = 128  # rows that a matrix product works on together


def chunk_rows(vocabulary: int) -> int:
    """Label positions in a chunk of logits: whole tiles, or fewer rows than one, or a single row."""
    rows = CHUNK_LOGITS // vocabulary
    return max(1, rows - rows % TILE if rows > TILE else rows)
