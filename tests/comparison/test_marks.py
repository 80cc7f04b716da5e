"""Marks of rows whose scores are not what they seem."""

from typing import Any

import pytest

from hieraseg.comparison.marks import with_marks
from hieraseg.comparison.rows import Row
from tests.support.rows import make_row, scores_of

HELD_OUT: dict[str, Any] = {"data": "held out"}


def marks(
    *rows: Row, key: str = "holdout", baseline: str | None = None
) -> tuple[dict[str, str], list[str]]:
    """The marks by title, and the notes."""
    reference = next((row for row in rows if row.title == baseline), None)
    marked, notes = with_marks(rows, key, reference)
    return {row.title: "".join(row.marks) for row in marked}, notes


@pytest.mark.parametrize(
    ("key", "scores", "cost", "data", "mark"),
    [
        ("val", {}, {"epochs": 3}, "v", "†"),
        ("val@flip", {}, {}, "v", "†"),
        ("val", {}, {"epochs": 1}, "v", ""),
        ("val@last", {"checkpoint": "last"}, {"epochs": 3}, "v", ""),
        ("holdout", HELD_OUT, {"epochs": 3}, "v", ""),
        ("holdout", HELD_OUT, {"epochs": 3}, "held out", "†"),
    ],
)
def test_epochs_chosen_on_the_split(
    key: str, scores: dict[str, Any], cost: dict[str, Any], data: str, mark: str
) -> None:
    """Unless there was nothing to choose; and whatever the split that has these data is called."""
    provenance = {"data": {"val": data}}
    row = make_row("a/b", [scores_of(0.5, **scores)], cost=cost, provenance=provenance)
    found, notes = marks(row, key=key)
    assert found == {"a/b": mark}
    assert any("best epoch chosen on this split" in note for note in notes) == bool(mark)


def test_the_score_that_chose_the_epoch_is_said() -> None:
    """Unless it is the usual one; and one epoch may be validated several times."""
    scores = [scores_of(0.5)]
    usual = f"miou@{len(scores[0]['levels'])}"
    provenance = {"data": {"val": "v"}}

    def note(*monitors: str) -> str:
        rows = [
            make_row(
                f"row {index}",
                scores,
                cost={"epochs": 1, "validations": 3, "monitor": monitor},
                provenance=provenance,
            )
            for index, monitor in enumerate(monitors)
        ]
        return marks(*rows, key="val")[1][0]

    assert note(usual).startswith("† best epoch chosen on this split, so")
    assert note("loss", "loss").startswith("† best epoch chosen on this split by loss, so")
    several = f"† best epoch chosen on this split by row 0 (loss); row 1 ({usual}), so"
    assert note("loss", usual).startswith(several)


def test_another_protocol_than_most_rows_or_the_baseline() -> None:
    usual = [make_row(title) for title in ("a", "b")]
    flipped = make_row("c", [scores_of(0.5, tta="flip")])
    found, (note, *_) = marks(flipped, *usual)
    assert found == {"c": "‡", "a": "", "b": ""}
    assert note.startswith("‡ scored by another protocol or on other data than a, so not compared")
    assert note.endswith("tta (flip | scales 1)")
    found, _ = marks(flipped, *usual, baseline="c")
    assert found == {"c": "", "a": "‡", "b": "‡"}
    _, (note, *_) = marks(*usual, flipped, baseline="b")
    assert note.startswith("‡ scored by another protocol or on other data than b, so not compared")
    assert marks(*usual)[0] == {"a": "", "b": ""}


def test_what_an_older_run_did_not_record_is_no_difference() -> None:
    tree: dict[str, Any] = {"parents": "p", "labels": "l", "void": [], "background": None}
    rows = [
        make_row("a", [scores_of(0.5, tree=tree)]),
        make_row("b", [scores_of(0.5, tree={**tree, "parents": "q"})]),
        make_row("c"),
    ]
    assert marks(*rows)[0] == {"a": "", "b": "‡", "c": ""}


def test_steps_and_seeds_unlike_the_baseline() -> None:
    runs = [scores_of(0.5)] * 3
    rows = [
        make_row("a", runs, cost={"steps": 300}),
        make_row("b", runs, cost={"steps": 600}),
        make_row("c", runs, cost={"steps": 300}, seeds=[2, 1, 3]),
        make_row("d", runs),
    ]
    found, notes = marks(*rows, baseline="a")
    assert found == {"a": "", "b": "*", "c": "§", "d": "*"}
    assert (
        "* trained for another number of steps than the baseline (300): b (600); d (unknown)"
        in notes
    )
    assert "§ other seeds than the baseline (0, 1, 2): c (1, 2, 3)" in notes
    assert set(marks(*rows)[0].values()) == {""}


def test_scores_of_training_images_are_said() -> None:
    trained = make_row("a", [scores_of(0.5)], provenance={"data": {"train": "d"}})
    other = make_row("b", [scores_of(0.5)], provenance={"data": {"train": "e"}})
    start = "trained on these images, so not scores of new ones"
    assert f"{start}: all rows" in marks(trained)[1]
    assert f"{start}: a" in marks(trained, other)[1]
    assert not any(start in note for note in marks(other)[1])


def test_few_seeds_are_said() -> None:
    one, two, three = (make_row(str(n), [scores_of(0.5)] * n) for n in (1, 2, 3))
    assert marks(one)[1] == ["n = 1: all rows; one seed says nothing of the spread between seeds"]
    assert marks(one, two)[1][0].startswith("n = 1: 1; one seed")
    assert (
        "no verdict for 1, 2: it takes 3 seeds of the row and of the baseline"
        in (marks(one, two, three, baseline="3")[1])
    )
    notes = marks(two, three, baseline="2")[1]
    assert any(note.startswith("no verdict for any row") for note in notes)
    assert not any("verdict" in note for note in marks(three, baseline="3")[1])


def test_classes_that_are_only_predicted_are_said() -> None:
    """Of a class in no target, one pixel costs a run its share of the mIoU."""

    def scores(iou: float | None, accuracy: float | None) -> dict[str, Any]:
        found = scores_of(0.5)
        found["levels"][0] |= {"iou": {"leg": iou}, "accuracy": {"leg": accuracy}}
        return found

    absent, predicted, wrong = scores(None, None), scores(0.0, None), scores(0.0, 0.0)
    rows = [
        make_row("a", [absent, wrong]),
        make_row("b", [predicted, absent, predicted]),
        make_row("older", [scores_of(0.0)]),
    ]
    found = [note for note in marks(*rows)[1] if "in no target" in note]
    assert [note.partition(": ")[2] for note in found] == ["leg (L1); predicted by b (2 of 3 runs)"]
    tree = {"parents": "p", "labels": "l", "pairs": "", "void": [], "background": "leg"}
    predicted["tree"] = tree
    assert not [note for note in marks(*rows)[1] if "in no target" in note]


def test_rows_that_are_not_averaged_are_explained() -> None:
    rows = [make_row(code, settings={"code": code}) for code in "ab"]
    assert any("ran other source code" in note for note in marks(*rows)[1])
