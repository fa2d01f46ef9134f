"""The images of handwritten digits that come with scikit-learn."""

from importlib.resources import files

import numpy as np
import torch


def load_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(1797, 64) images of 8 × 8 pixels, fp32 from 0 to 1, and the (1797,) digits that they show.

    The test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, CC BY 4.0), as `sklearn.datasets.load_digits` gives it, over 16.
    """
    with np.load(str(files("lorabook").joinpath("assets", "digits.npz")), allow_pickle=False) as stored:
        return torch.from_numpy(stored["images"]).float() / 16, torch.from_numpy(stored["classes"]).long()
