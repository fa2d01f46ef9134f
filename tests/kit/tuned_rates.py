"""A stored search for a learning rate, and whether it may be believed."""


def assert_rate_is_bracketed(rates: dict[str, float], best: float, better=min) -> None:
    """The best of the tried rates is `best`, and one on either side of it was worse."""
    tried = sorted(map(float, rates))
    chosen = better(rates, key=lambda rate: rates[rate])
    assert float(chosen) == best or abs(float(chosen) / best - 1) < 0.01
    assert tried[0] < float(chosen) < tried[-1]
