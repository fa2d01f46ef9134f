"""Wrong answers to the exercises of notebook 06, as people write them."""

import math

import torch

from lorabook.subspace import fastfood
from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# fwht


def by_halves(pair):
    """The transform as a recursion; `pair` joins the halves that are transformed already."""

    def answer(x):
        return x if len(x) == 1 else torch.cat(pair(*map(answer, x.chunk(2))))

    return answer


bank.add("fwht", "scaled by halves", "by 1/√2", by_halves(lambda a, b: ((a + b) / 2**0.5, (a - b) / 2**0.5)))
bank.add("fwht", "b minus a", "wrong sign", by_halves(lambda a, b: (a + b, b - a)))
bank.add("fwht", "difference first", "the sum comes first", by_halves(lambda a, b: (a - b, a + b)))


@wrong("fwht", "overwrote a")
def sum_written_before_the_difference(x):
    y, h, n = x.clone(), 1, len(x)
    while h < n:
        for i in range(0, n, 2 * h):
            for j in range(i, i + h):
                y[j] = y[j] + y[j + h]
                y[j + h] = y[j] - y[j + h]
        h *= 2
    return y


@wrong("fwht", "last stage")
def stops_before_half_of_n(x):
    y, h, n = x.clone(), 1, len(x)
    while h < n // 2:
        for i in range(0, n, 2 * h):
            for j in range(i, i + h):
                y[j], y[j + h] = y[j] + y[j + h], (y[j] - y[j + h]).clone()
        h *= 2
    return y


@wrong("fwht", "first stage")
def begins_at_two(x):
    y, h = x.clone(), 2
    while h < len(x):
        y = y.view(-1, 2, h)
        y = torch.cat([y[:, :1] + y[:, 1:], y[:, :1] - y[:, 1:]], 1).flatten()
        h += h
    return y


@wrong("fwht", "one stage and stopped")
def neighbours_alone(x):
    if len(x) == 1:
        return x
    a, b = x[0::2], x[1::2]
    return torch.stack([a + b, a - b], 1).flatten()


@wrong("fwht", "h stayed 1")
def distance_never_doubled(x):
    for _ in range(int(math.log2(len(x)))):
        x = torch.stack([x[::2] + x[1::2], x[::2] - x[1::2]], -1).reshape(-1)
    return x


@wrong("fwht", "averages")
def divided_by_n(x):
    return fastfood.fwht(x) / len(x)


@wrong("fwht", "reverses the bits")
def split_as_an_fft(x):
    if len(x) == 1:
        return x
    even, odd = split_as_an_fft(x[0::2]), split_as_an_fft(x[1::2])
    return torch.cat([even + odd, even - odd])


@wrong("fwht", "sign changes")
def walsh_order(x):
    rows = [fastfood.fwht(unit) for unit in torch.eye(len(x), dtype=x.dtype)]
    rows.sort(key=lambda row: int((row[1:] != row[:-1]).sum()))
    return torch.stack(rows) @ x


@wrong("fwht", "in place")
def writes_into_x(x):
    h = 1
    while h < len(x):
        for i in range(0, len(x), 2 * h):
            for j in range(i, i + h):
                a, b = x[j].item(), x[j + h].item()
                x[j], x[j + h] = a + b, a - b
        h *= 2
    return x


# fastfood_adjoint


def padded(w, L):
    return torch.cat([w, torch.zeros(L - len(w), dtype=w.dtype)])


@wrong("fastfood_adjoint", "1/√L")
def backward_scaled(w, B, Pi, G, d, c):
    def H(x):
        return fastfood.fwht(x) / math.sqrt(len(x))

    return B[:d] * H((G * H(padded(w, len(G))))[Pi.argsort()])[:d] / c


@wrong("fastfood_adjoint", "gathered with Pi")
def permutation_not_inverted(w, B, Pi, G, d, c):
    z = G * fastfood.fwht(padded(w, len(G)))
    return (B * fastfood.fwht(z[Pi]))[:d] / c


@wrong("fastfood_adjoint", "Pi is missing")
def no_permutation(w, B, Pi, G, d, c):
    return (B * fastfood.fwht(G * fastfood.fwht(padded(w, len(G)))))[:d] / c


@wrong("fastfood_adjoint", "swapped B and G")
def b_first(w, B, Pi, G, d, c):
    z = B * fastfood.fwht(padded(w, len(B)))
    return (G * fastfood.fwht(z[torch.argsort(Pi)]))[:d] / c


@wrong("fastfood_adjoint", "undid Pi before G")
def g_after_the_permutation(w, B, Pi, G, d, c):
    z = fastfood.fwht(padded(w, len(G)))[Pi.argsort()]
    return (B * fastfood.fwht(G * z))[:d] / c


@wrong("fastfood_adjoint", "forgot to crop")
def not_cropped(w, B, Pi, G, d, c):
    z = G * fastfood.fwht(padded(w, len(G)))
    return B * fastfood.fwht(z[Pi.argsort()]) / c


@wrong("fastfood_adjoint", "division by c")
def no_constant(w, B, Pi, G, d, c):
    z = G * fastfood.fwht(padded(w, len(G)))
    return B[:d] * fastfood.fwht(z[Pi.argsort()])[:d]


@wrong("fastfood_adjoint", "multiplied by c")
def constant_inverted(w, B, Pi, G, d, c):
    z = G * fastfood.fwht(padded(w * c, len(G)))
    return B[:d] * fastfood.fwht(z[Pi.argsort()])[:d]


@wrong("fastfood_adjoint", "B is missing")
def signs_forgotten(w, B, Pi, G, d, c):
    z = G * fastfood.fwht(padded(w, len(G)))
    return fastfood.fwht(z[Pi.argsort()])[:d] / c


@wrong("fastfood_adjoint", "G is missing")
def gaussian_forgotten(w, B, Pi, G, d, c):
    z = fastfood.fwht(padded(w, len(B)))
    return B[:d] * fastfood.fwht(z[Pi.argsort()])[:d] / c


@wrong("fastfood_adjoint", "applied the forward pass")
def forward_once_more(w, B, Pi, G, d, c):
    z = fastfood.fwht(B * padded(w, len(B)))
    z = fastfood.fwht(G * z[Pi])
    return z[:d] / c
