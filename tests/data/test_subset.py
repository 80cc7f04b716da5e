"""Some images of a data set."""

from inspect import getattr_static

import pytest

from hieraseg.data.subset import ChosenImages, FirstImages
from tests.support.datasets import FakeDataset


@pytest.mark.parametrize("attribute", ["splits", "ids", "image", "mask", "fingerprint"])
def test_protocols_see_that_it_is_a_data_set(attribute: str) -> None:
    """From Python 3.12 on, `isinstance` does not call `__getattr__`."""
    assert getattr_static(FirstImages(FakeDataset(), 1), attribute)
    assert getattr_static(ChosenImages(FakeDataset(), ["train0"]), attribute)
