"""What is said before a run trains."""

from collections.abc import Sequence

import pytest

import hieraseg
from hieraseg.training.notices import notices
from tests.support.runs import QUICKSTART

VIT = {"backbone": "timm", "backbone.model": "test_vit", "decoder": "linear"}


@pytest.mark.parametrize(
    ("frozen", "said"), [(["backbone"], 1), (["backbone.network"], 0), (["head"], 0), ([], 0)]
)
def test_frozen_parts_with_random_weights(frozen: Sequence[str], said: int) -> None:
    parts = hieraseg.build(QUICKSTART, {**VIT, "training.freeze": frozen})
    sentences = list(notices(parts.recipe, parts.hierarchy, parts.model))
    expected = (
        "training.freeze keeps backbone.pyramid as it is, which has random weights; to train it, "
        "freeze the other parts of the backbone by name"
    )
    assert sentences == [expected] * said
