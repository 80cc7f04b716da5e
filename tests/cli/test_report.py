"""Tables of scores on stdout."""

from hieraseg.cli.report import format_scores
from tests.support.scores import random_case
from tests.support.trees import Tree

TREE: Tree = {"background": None, "x": {"a": None, "b": None}, "y": {"c": {"d": None, "e": None}}}


def test_all_scores_are_in_the_tables() -> None:
    """Every score of a level, of a class and of the tree, under its name in `result.json`."""
    scores = random_case(TREE, 3).summary()
    text = format_scores(
        {**scores, "resolution": "native", "tta": "scales 1", "epoch": 1}, "a title"
    )
    for key in (*scores["levels"][0], *scores):
        assert key in ("level", "levels") or key in text
    assert f"{scores['levels'][2]['classwise_ece']:.3f}" in text
    assert f"{scores['hierarchical_f1']:.3f}" in text
    rows = [line for line in text.splitlines() if "3 background" in line]
    values = [scores["levels"][2][key]["background"] for key in ("iou", "boundary_iou")]
    assert all(("-" if value is None else f"{value:.3f}") in rows[0] for value in values)
