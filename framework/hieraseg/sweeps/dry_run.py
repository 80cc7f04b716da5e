"""What jobs would do, without doing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hieraseg.comparison.settings import differing
from hieraseg.data.checking import CheckedDataset
from hieraseg.recipe import Recipe
from hieraseg.recipe.build import build
from hieraseg.recipe.dataset import build_dataset
from hieraseg.runs.identity import settings_in
from hieraseg.sweeps.jobs import Job
from hieraseg.training.setup import total_steps


@dataclass(frozen=True)
class PlannedJob:
    """A job of a dry run.

    Attributes:
        job: the job.
        finished: the finished run for which it is skipped; None if it is to be done.
        reason: why earlier runs of it do not count; may be empty.
        steps: optimizer steps.
        settings: YAML of the settings in which the jobs differ, by dotted key.
    """

    job: Job
    finished: Path | None
    reason: str
    steps: int
    settings: Mapping[str, str]

    @property
    def images(self) -> int:
        """Number of training images that all steps see."""
        return self.steps * self.job.recipe.training.batch_size


def dry_run(
    jobs: Sequence[Job], finished: Mapping[str, Path | None], reasons: Mapping[str, str]
) -> list[PlannedJob]:
    """What jobs would do.

    Args:
        jobs: the jobs.
        finished: by title, the finished run of those that are skipped.
        reasons: by title, why earlier runs do not count.

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
        planned.append(
            PlannedJob(
                job,
                finished.get(job.title),
                reasons.get(job.title, ""),
                total_steps(job.recipe.training, images[data]),
                {key: own[key] for key in keys if key in own},
            )
        )
    return planned


def _training_images(recipe: Recipe) -> int:
    hierarchy = build(recipe["hierarchy"])
    return len(CheckedDataset(build_dataset(recipe, hierarchy), hierarchy).ids("train"))
