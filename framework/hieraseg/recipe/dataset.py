"""Building the data set of a recipe."""

from hieraseg.contracts import Dataset
from hieraseg.data.checking import check_attributes
from hieraseg.errors import DataError, HierasegError, from_here
from hieraseg.hierarchy import Hierarchy
from hieraseg.recipe.build import build
from hieraseg.recipe.resolved import Recipe
from hieraseg.tracebacks import describe, place_in


def build_dataset(recipe: Recipe, hierarchy: Hierarchy) -> Dataset:
    """Build the data set of a recipe.

    Raises:
        RecipeError: it refuses an argument.
        DataError: the data cannot be used, its code fails, or it lacks an attribute.
    """
    spec = recipe["data"]
    try:
        dataset: Dataset = build(spec, hierarchy=hierarchy)
        check_attributes(dataset)
    except HierasegError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's code can fail in any way
        place = place_in(spec.factory, error)
        where = f" ({from_here(place)})" if place else ""
        raise DataError(
            f"data: {spec.name} cannot be opened{where}: {describe(error)}; "
            "fix the data, or the code that reads it"
        ) from error
    return dataset
