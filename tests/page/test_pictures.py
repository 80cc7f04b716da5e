"""Pictures on the page: which images, what runs predict of them, and what cannot be shown."""

import base64
import io
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import hieraseg
from hieraseg.comparison.comparison import Comparison
from hieraseg.comparison.rows import Row
from hieraseg.page import pictures
from hieraseg.page.pictures_choosing import Chosen, choose
from hieraseg.page.pictures_encoding import class_maps, jpeg
from hieraseg.page.sections import Section
from tests.support.oracle import oracle_component

NAN = float("nan")


def test_half_of_the_images_are_spread_and_half_differ_most() -> None:
    scores = np.zeros((2, 11))
    scores[1, [2, 7, 9]] = 0.3, 0.5, 0.1
    # Images 7 and 2 differ most; of the other nine, the first, the middle and the last are left.
    spread = [Chosen(0, False), Chosen(5, False), Chosen(10, False)]
    assert choose(scores, 5) == [*spread, Chosen(7, True), Chosen(2, True)]


def test_images_without_a_difference_are_spread() -> None:
    one_run = np.array([[0.1, 0.9, 0.5]])
    assert choose(one_run, 8) == [Chosen(0, False), Chosen(1, False), Chosen(2, False)]
    undefined = np.array([[0.1, NAN, NAN], [0.1, 0.9, NAN]])
    assert not any(image.differs for image in choose(undefined, 2))


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 3), st.integers(1, 12)),
        elements=st.floats(0, 1) | st.just(NAN),
    ),
    st.integers(1, 9),
)
def test_images_are_chosen_once(scores: np.ndarray, count: int) -> None:
    chosen = choose(scores, count)
    assert len({image.place for image in chosen}) == len(chosen) == min(count, scores.shape[1])
    differing = [np.ptp(scores[:, image.place]) for image in chosen if image.differs]
    assert differing == sorted(differing, reverse=True)
    assert all(gap > 0 for gap in differing)


def decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Class maps as the page's script reads them; -1 for ignored pixels."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2")
    return values.reshape(shape).astype(int) - 1


def test_class_maps_keep_every_class() -> None:
    levels = np.array([[[0, 1, -100]], [[299, 300, -100]]])
    assert decoded(class_maps(levels), (2, 1, 3)).tolist() == [[[0, 1, -1]], [[299, 300, -1]]]


def test_images_are_jpeg() -> None:
    image = np.full((9, 7, 3), (200, 30, 90), np.uint8)
    content = base64.b64decode(jpeg(image).removeprefix("data:image/jpeg;base64,"))
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - image).max() <= 4


@pytest.fixture(scope="module")
def section(comparison: Comparison) -> Section:
    """The section of the study with four of its eight images."""
    return pictures.section(comparison, images=4)


def data_of(section: Section) -> dict[str, Any]:
    """What the page's script reads."""
    _, _, rest = section.html.partition('<script type="application/json">')
    found: dict[str, Any] = json.loads(rest.partition("</script>")[0])
    return found


def names(comparison: Comparison) -> list[str]:
    """The rows as the page calls them."""
    return [row.title.removeprefix("oracle/") for row in comparison.rows]


def test_predictions_are_those_of_the_first_seed(section: Section, comparison: Comparison) -> None:
    data = data_of(section)
    assert data["rows"] == names(comparison)
    rectangles = oracle_component("datasets", "rectangles")
    for place, row in enumerate(comparison.rows):
        predictor = hieraseg.load(row.runs[0].path)
        dataset = rectangles(predictor.hierarchy, shape=(24, 40), images=16, shown=4)
        for image in data["images"]:
            shape = (3, image["height"], image["width"])
            expected = predictor.predict(dataset.image(image["id"])).classes
            assert (decoded(image["rows"][place]["classes"], shape) == expected).all()
            leaves = decoded(image["target"], shape)[-1]
            assert (
                leaves == dataset.mask(image["id"])
            ).all()  # the labels of Pascal-Part are the indices of leaves


def test_scores_are_those_of_the_counts(section: Section, comparison: Comparison) -> None:
    for place, row in enumerate(comparison.rows):
        run = row.runs[0]
        counts = np.load(run.path / "evaluation/val.npz")
        ids = counts["ids"].tolist()
        for image in data_of(section)["images"]:
            index = ids.index(image["id"])
            both, own, target = (
                counts[f"{key}_3"][index] for key in ("intersection", "predicted", "truth")
            )
            union = own + target - both
            foreground = union[1:] > 0  # background is the first leaf
            expected = (both[1:][foreground] / union[1:][foreground]).mean()
            assert image["rows"][place]["miou"][2] == pytest.approx(expected)


def test_levels_have_the_colors_of_figures(section: Section, comparison: Comparison) -> None:
    hierarchy = hieraseg.load(comparison.rows[0].runs[0].path).hierarchy
    levels = data_of(section)["levels"]
    assert [level["names"] for level in levels] == hierarchy.level_names
    assert levels[0]["colors"][0] == [64, 64, 64]  # background


Change = Callable[[Path], Any]


def with_changed_row(comparison: Comparison, folder: Path, change: Change) -> Comparison:
    """The first two rows, the first one with a changed copy of its first seed alone."""
    first, second, *_ = comparison.rows
    run = first.runs[0]
    copy = Path(shutil.copytree(run.path, folder / run.path.name))
    change(copy)
    changed = replace(first, runs=(replace(run, path=copy),))
    return replace(comparison, rows=[changed, second])


def test_a_run_without_checkpoint_gets_a_sentence(comparison: Comparison, tmp_path: Path) -> None:
    changed = with_changed_row(comparison, tmp_path, lambda run: shutil.rmtree(run / "checkpoints"))
    section = pictures.section(changed, images=2)
    assert data_of(section)["rows"] == names(comparison)[1:2]
    assert "no such checkpoint" in section.html


def test_rows_without_counts_are_shown_but_choose_no_image(
    comparison: Comparison, tmp_path: Path
) -> None:
    changed = with_changed_row(comparison, tmp_path, lambda run: shutil.rmtree(run / "evaluation"))
    section = pictures.section(changed, images=2)
    assert len(data_of(section)["rows"]) == 2
    assert "evaluation/val.npz" in section.html


def test_predictions_that_were_not_scored_are_named(comparison: Comparison, tmp_path: Path) -> None:
    other = comparison.rows[1].runs[0].path

    def change(run: Path) -> None:
        shutil.rmtree(run / "checkpoints")
        shutil.copytree(other / "checkpoints", run / "checkpoints")

    section = pictures.section(with_changed_row(comparison, tmp_path, change), images=8)
    assert "not quite the predictions that were scored" in section.html


def test_unchanged_predictions_have_no_warning(section: Section) -> None:
    assert 'class="missing"' not in section.html


def test_no_plugin_file_is_run_against_the_users_will(comparison: Comparison) -> None:
    section = pictures.section(comparison, images=2, run_plugins=False)
    assert section.html.count("--no-plugins refuses to run") == len(comparison.rows)
    assert "<canvas" not in section.html


def test_titles_are_text(comparison: Comparison) -> None:
    row: Row = replace(comparison.rows[0], title="runs/<b>bold")
    section = pictures.section(replace(comparison, rows=[row]), images=1)
    assert "<b>bold" not in section.html
    assert data_of(section)["rows"] == ["<b>bold"]
