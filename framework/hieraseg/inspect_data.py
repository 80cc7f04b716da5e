"""Job: read all images and masks of a recipe's data set, and say what is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from hieraseg.console import log
from hieraseg.data.checking import CheckedDataset, missing_splits
from hieraseg.data.duplicates import Duplicates, Pair, find_duplicates
from hieraseg.data.label_names import naming_notices
from hieraseg.data.survey import Survey, survey_split
from hieraseg.errors import DataError, RecipeError
from hieraseg.files.paths import keep_working_directory
from hieraseg.hierarchy import Hierarchy
from hieraseg.hierarchy.sides import sides_notice
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset

_FIX_LABELS = (
    "fix the masks, map the labels in the data set's arguments, or add them to the hierarchy"
)

_DARK = 64  # of 255


@dataclass(frozen=True)
class DataReport:
    """What the data set of a recipe has.

    Attributes:
        hierarchy: its class tree.
        surveys: what each split has that can be listed.
        duplicates: by two splits, the images of the second that the first has, too; by the same
            split twice, the images that repeat an earlier one.
        problems: sentences on what makes training or evaluation fail.
        warnings: sentences on what may be wrong.
    """

    hierarchy: Hierarchy
    surveys: Mapping[str, Survey]
    duplicates: Mapping[tuple[str, str], Duplicates]
    problems: Sequence[str]
    warnings: Sequence[str]


@keep_working_directory()
def inspect_data(recipe: Recipe, split: str | None = None) -> DataReport:
    """Read all images and masks of all splits, or of one.

    Raises:
        RecipeError: a component refuses its arguments, or there is no such split.
        DataError: the data set cannot be opened. All that is wrong with its files is in the report.
    """
    hierarchy: Hierarchy = build(recipe["hierarchy"])
    dataset = build_dataset(recipe, hierarchy)
    if split is not None and split not in dataset.splits:
        raise RecipeError(f"--split {split}: the data set has {', '.join(dataset.splits)}")
    problems = missing_splits(dataset)
    surveys = {}
    for name in [split] if split else dataset.splits:
        try:
            surveys[name] = survey_split(CheckedDataset(dataset, hierarchy), name, hierarchy)
        except DataError as error:
            problems.append(str(error))
    log("comparing images")
    duplicates = {
        (first, second): find_duplicates(surveys[second].fingerprints, surveys[first].fingerprints)
        for first, second in combinations_with_replacement(surveys, 2)
    }
    for name, survey in surveys.items():
        problems += _problems(name, survey)
    flips = recipe.augmentation.flip or recipe.evaluation.flip
    sides = [notice] if flips and (notice := sides_notice(hierarchy)) else []
    warnings = [
        *naming_notices(dataset, hierarchy),
        *sides,
        *_dark_images(surveys),
        *_missing_classes(surveys, hierarchy),
        *_repeated_images(duplicates),
    ]
    return DataReport(hierarchy, surveys, duplicates, problems, warnings)


def _problems(split: str, survey: Survey) -> Iterator[str]:
    bad = _num_bad(survey)
    if bad:
        yield (
            f"{split}: {bad} of {survey.images} images or their masks cannot be used; fix them, or "
            "remove them from the split"
        )
    if survey.labels.unknown:
        values = sorted(survey.labels.unknown)
        shown = ", ".join(map(str, values[:10])) + (", ..." if len(values) > 10 else "")
        yield f"{split}: the masks have labels that the hierarchy does not: {shown}; {_FIX_LABELS}"


def _num_bad(survey: Survey) -> int:
    return len({file.id for file in survey.bad_files})


def _missing_classes(surveys: Mapping[str, Survey], hierarchy: Hierarchy) -> Iterator[str]:
    for split, survey in surveys.items():
        if _num_bad(survey) == survey.images:
            continue
        known: set[str] = set()
        for level, names in enumerate(hierarchy.level_names):
            counts = survey.labels.levels[level].images
            missing = {name for name, images in zip(names, counts, strict=True) if not images}
            if missing - known:  # a class is repeated on each level below, if it has no children
                listed = ", ".join(sorted(missing - known, key=names.index))
                yield f"{split}: no image has these classes of level {level + 1}: {listed}"
            known |= missing


def _dark_images(surveys: Mapping[str, Survey]) -> Iterator[str]:
    """Splits of which most images are as dark as those of cameras that fill 14 of 16 bits."""
    for split, survey in surveys.items():
        is_dark = survey.brightest < _DARK
        if 2 * is_dark.sum() > len(is_dark):
            highest = int(survey.brightest[is_dark].max())
            yield (
                f"{split}: {is_dark.sum()} of {len(is_dark)} images are nearly black, with no "
                f"value above {highest} of 255, such as "
                f"{survey.fingerprints.ids[int(is_dark.argmax())]!r}; of files with 16 bits the "
                f"upper 8 are read, so multiply values that fill {8 + highest.bit_length()} bits "
                f"by {256 >> highest.bit_length()}, also in images to predict"
            )


def _repeated_images(duplicates: Mapping[tuple[str, str], Duplicates]) -> Iterator[str]:
    for (first, second), (same, alike) in duplicates.items():
        if same and first == second:
            yield (
                f"{second}: images that repeat another one of the split: {len(same)}, such as "
                f"{_example(same)}"
            )
        elif same:
            yield (
                f"{second}: images that are also in {first}: {len(same)}, such as {_example(same)}"
                "; keep them in one split, since scores of images that were trained on say little"
            )
        if alike and first != second:
            yield (
                f"{second}: images that look like images of {first}: {len(alike)}, such as "
                f"{_example(alike)}; keep copies, and frames of one video, in one split"
            )


def _example(pairs: Sequence[Pair]) -> str:
    return f"{pairs[0].second!r} and {pairs[0].first!r}"
