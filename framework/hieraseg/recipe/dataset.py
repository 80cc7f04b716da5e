"""The data set of a recipe."""

import hashlib
from pathlib import Path, PurePath

from hieraseg.contracts import Dataset
from hieraseg.data.batches.cropping import num_levels
from hieraseg.data.checking import check_attributes
from hieraseg.data.joining import members_of
from hieraseg.data.label_names import names_by_key, naming_problem
from hieraseg.data.stores.repeats import repeat_rare
from hieraseg.data.stores.store import Store, open_store
from hieraseg.data.subset import unwrapped
from hieraseg.errors import DataError, HierasegError, RecipeError, from_here
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.build import build
from hieraseg.recipe.conflicts import WEIGHTS_AND_REPEATS
from hieraseg.recipe.paths import LARGEST_FILE, map_paths
from hieraseg.recipe.resolved import Recipe
from hieraseg.recipe.spec import ComponentSpec, components_in
from hieraseg.registry.sources import source_digest
from hieraseg.tracebacks import describe, place_in


def build_dataset(recipe: Recipe, hierarchy: Hierarchy) -> Dataset:
    """Build the data set of a recipe.

    Raises:
        RecipeError: it refuses an argument, or its labels are other classes in the hierarchy.
        DataError: the data cannot be used, its code fails, or it lacks an attribute.
    """
    spec = recipe["data"]
    try:
        dataset: Dataset = build(spec, hierarchy=hierarchy)
        try:
            check_attributes(dataset)
            named = dict(names_by_key(dataset))
        except DataError as error:
            raise DataError(f"{recipe.origin['data.name']}: {error}") from error
    except HierasegError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's code can fail in any way
        place = place_in(spec.factory, error)
        where = f" ({from_here(place)})" if place else ""
        raise DataError(
            f"data: {spec.name} cannot be opened{where}: {describe(error)}; "
            "fix the data, or the code that reads it"
        ) from error
    for key, names in named.items():
        problem = naming_problem(names, hierarchy)
        if problem:
            raise RecipeError(f"{recipe.origin['data.name']}: {key}: {problem}")
    return dataset


def open_train_store(recipe: Recipe, dataset: Dataset, hierarchy: Hierarchy) -> Store:
    """Open the store of the training split, and find how often its images are drawn.

    Raises:
        RecipeError: images are to be drawn by their classes, and by the weights of data sets.
        DataError: images or masks cannot be used.
    """
    threshold = recipe.training.repeat_threshold
    if threshold is not None and getattr(dataset, "weights", None) is not None:
        raise RecipeError(
            f"{recipe.origin['training.repeat_threshold']}: training.repeat_threshold: "
            f"{WEIGHTS_AND_REPEATS}"
        )
    code = data_digest(recipe, dataset)
    levels = num_levels(recipe.input, recipe.augmentation)
    store = open_store(dataset, "train", hierarchy, recipe.input, code, levels)
    if threshold is None:
        return store
    return repeat_rare(store, hierarchy, recipe.input, threshold)


def data_digest(recipe: Recipe, dataset: Dataset) -> str | list[str]:
    """SHA-256 of a data set's source code and arguments, by which stores of it are known.

    A file that an argument names counts by its content, since run folders have a copy of it.

    Args:
        recipe: the recipe.
        dataset: its data set.

    Returns:
        Of a joined data set, the digest of each member, by which it shares its stores with other
        recipes.
    """
    spec, members = recipe["data"], members_of(dataset)
    if members is None:
        return _digest(spec)
    specs: list[ComponentSpec] = spec.arguments.get("datasets") or []
    if [type(unwrapped(one)) for one in members] != [one.factory for one in specs]:
        return [_digest(spec)] * len(members)  # it has made its members in its own way
    return [_digest(one) for one in specs]


def _digest(spec: ComponentSpec) -> str:
    spec = map_paths(spec, _content)
    codes = [(one.code, source_digest(one.factory)) for one in components_in(spec)]
    content = repr((codes, spec.arguments)).encode(errors="surrogateescape")
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> PurePath:
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        return path
    return PurePath(hashlib.sha256(path.read_bytes()).hexdigest())
