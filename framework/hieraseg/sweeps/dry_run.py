"""What jobs would do, without doing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hieraseg.comparison.settings import differing
from hieraseg.data.checking import CheckedDataset
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset
from hieraseg.runs.identity import settings_in
from hieraseg.sweeps.earlier import Earlier
from hieraseg.sweeps.jobs import Job
from hieraseg.training.setup import total_steps


@dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run.

    Attributes:
        job: the job.
        earlier: what earlier runs leave to be done of it.
        steps: optimizer steps that are left.
        settings: YAML of the settings in which the jobs differ, by dotted key.
    """

    job: Job
    earlier: Earlier
    steps: int
    settings: Mapping[str, str]

    @property
    def images(self) -> int:
        """Number of training images that all steps see."""
        return self.steps * self.job.recipe.training.batch_size


def dry_run(jobs: Sequence[Job], earlier: Mapping[str, Earlier]) -> list[PlannedJob]:
    """What jobs would do.

    Args:
        jobs: the jobs.
        earlier: by title, what earlier runs leave to be done.

    Raises:
        DataError: a data set cannot be opened.
    """
    settings = [settings_in(job.recipe.to_dict(), {}) for job in jobs]
    keys = differing(settings)
    images: dict[str, int] = {}
    planned = []
    for job, own in zip(jobs, settings, strict=True):
        data = repr((job.recipe["data"], job.recipe["hierarchy"]))
        if data not in images:
            images[data] = _training_images(job.recipe)
        found = earlier.get(job.title, Earlier("new"))
        steps = total_steps(job.recipe.training, images[data]) - (found.step or 0)
        shown = {key: own[key] for key in keys if key in own}
        planned.append(PlannedJob(job, found, steps if found.is_left else 0, shown))
    return planned


def _training_images(recipe: Recipe) -> int:
    hierarchy = build(recipe["hierarchy"])
    return len(CheckedDataset(build_dataset(recipe, hierarchy), hierarchy).ids("train"))
