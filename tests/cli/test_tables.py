"""Comparison tables: their columns, and the mean over seeds."""

from typing import Any

from hieraseg.cli.tables import as_csv, as_json, as_table
from hieraseg.compare import Row, differences
from tests.support.scores import random_case
from tests.support.trees import Tree

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}
PROTOCOL = {"data": "d", "resolution": "native", "checkpoint": "best", "tta": "scales 1"}


def test_json_and_csv_have_all_scores_and_tables_the_main_ones() -> None:
    case = random_case(TREE, 3)
    row = Row("quickstart/base", [0], [{**case.summary(), **PROTOCOL}], [{}])
    (header, _) = as_table([row])
    assert header[2:-2] == ["mIoU L1", "mIoU L2", "mIoU L3", "coherence", "mistake distance"]
    (in_json,) = as_json([row])["rows"]
    leaves = case.summary()["levels"][-1]
    assert in_json["class-wise ECE L3"] == [leaves["classwise_ece"]]
    assert in_json["boundary IoU L3"] == [leaves["mean_boundary_iou"]]
    assert in_json["hierarchical F1"] == [case.summary()["hierarchical_f1"]]
    assert "class-wise ECE L2" in as_csv([row])


def _scores(miou: float | None, **changes: str) -> dict[str, Any]:
    return {"levels": [{"level": 1, "miou": miou, "iou": {"a": miou}}], **PROTOCOL, **changes}


def test_cells_are_means_over_seeds() -> None:
    """With the sample standard deviation; undefined scores are left out of the mean."""
    rows = [
        Row("a/base", [0, 1, 2], [_scores(0.4), _scores(0.6), _scores(None)], [{"seconds": 90}]),
        Row("b/base", [0], [_scores(None)], [{}]),
    ]
    header, first, second = as_table(rows)
    assert header == ["recipe", "seeds", *header[2:]]
    assert dict(zip(header, first, strict=True)) == {
        "recipe": "a/base",
        "seeds": "0,1,2",
        "mIoU L1": "0.500 ± 0.141",
        "coherence": "-",
        "mistake distance": "-",
        "parameters (M)": "-",
        "minutes": "1.500",
    }
    assert second[:3] == ["b/base", "0", "-"]


def test_differences_of_protocols() -> None:
    """Distinct values are in the order of the rows."""
    rows = [
        Row("a/base", [0], [_scores(0.5, tta="scales 1, flip")], [{}]),
        Row("b/base", [0, 1], [_scores(0.5), _scores(0.5)], [{}, {}]),
    ]
    assert differences(rows) == {"tta": ["scales 1, flip", "scales 1"]}
    assert differences(rows[1:]) == {}
    assert not as_json(rows)["comparable"]
