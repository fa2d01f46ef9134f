"""How many bytes a weight takes in NF4, the 4-bit format of QLoRA (Dettmers et al. 2023, arXiv 2305.14314)."""

BLOCK, SCALES = 64, 256  # weights that share a scale, scales that share an fp32 number
TABLES = 4 * (16 + 256 + 1)  # fp32, of every layer: the levels of weights and of scales, and the mean scale


def nf4_bytes(size: int) -> int:
    """Bytes of one layer's weight of `size` numbers with double quantisation, as bitsandbytes stores it.

    Half a byte a weight, one byte a scale, an fp32 number for 256 scales (section 3: 4.127 bits a weight), and tables.
    """
    scales = -(-size // BLOCK)
    return -(-size // 2) + scales + 4 * -(-scales // SCALES) + TABLES
