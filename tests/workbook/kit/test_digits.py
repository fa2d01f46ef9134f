"""The digits that ship, against scikit-learn's."""

import numpy as np
from sklearn import datasets

from lorabook.workbook.kit.digits import load_digits


def test_they_are_scikit_learn_s_over_sixteen():
    images, classes = load_digits()
    pixels, digits = datasets.load_digits(return_X_y=True)
    assert images.dtype.is_floating_point and np.array_equal(images.numpy() * 16, pixels)
    assert np.array_equal(classes.numpy(), digits)
