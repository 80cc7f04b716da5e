"""The jobs of a command as text: what there is to do, and what became of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hieraseg.cli.layout import format_table

if TYPE_CHECKING:
    from hieraseg.sweeps.dry_run import PlannedJob
    from hieraseg.sweeps.outcomes import Outcome


def planned_as_json(jobs: Sequence["PlannedJob"]) -> dict[str, Any]:
    """The jobs of a dry run as JSON values."""
    todo = [one for one in jobs if not one.finished]
    return {
        "jobs": [
            {
                "job": one.job.title,
                "folder": str(one.finished or one.job.folder()),
                "state": "skipped" if one.finished else "to run",
                "reason": one.reason,
                "seed": one.job.recipe.training.seed,
                "settings": dict(one.settings),
                "steps": one.steps,
                "images": one.images,
            }
            for one in jobs
        ],
        "steps": sum(one.steps for one in todo),
        "images": sum(one.images for one in todo),
    }


def format_planned(jobs: Sequence["PlannedJob"]) -> str:
    """The jobs of a dry run as a table, and their totals."""
    keys = list(dict.fromkeys(key for one in jobs for key in one.settings))
    rows = [
        [
            one.job.title,
            "skipped" if one.finished else "to run",
            f"{one.steps:,}",
            f"{one.images:,}",
            *(one.settings.get(key, "-") for key in keys),
        ]
        for one in jobs
    ]
    todo = [one for one in jobs if not one.finished]
    table = format_table(["job", "state", "steps", "images", *keys], rows, optional=keys[::-1])
    return "\n".join(
        [
            table,
            *(f"{one.job.title}: {one.reason}, so it is run again" for one in jobs if one.reason),
            f"{len(todo)} of {len(jobs)} jobs to run in {jobs[0].job.out}: "
            f"{sum(one.steps for one in todo):,} steps, "
            f"{sum(one.images for one in todo):,} images",
        ]
    )


def format_outcomes(outcomes: Sequence["Outcome"]) -> str:
    """What became of each job, and its mIoU on `val`, as a table."""
    scores = {one.title: _scores(one) for one in outcomes}
    levels = max(map(len, scores.values()), default=0)
    rows = [
        [
            _job(one),
            f"{one.state} ({one.exit_code})" if one.state == "failed" else one.state,
            *(f"{score:.3f}" if score is not None else "-" for score in scores[one.title]),
            *["-"] * (levels - len(scores[one.title])),
            f"{one.seconds / 60:.1f}" if one.seconds else "-",
        ]
        for one in outcomes
    ]
    headings = [f"mIoU L{level}" for level in range(1, levels + 1)]
    return format_table(["job", "state", *headings, "minutes"], rows)


def _job(outcome: "Outcome") -> str:
    """The title of a job, which is the path of its run folder below that of all runs, or both."""
    folder = outcome.folder
    is_repetition = folder is not None and not folder.as_posix().endswith(outcome.title)
    return f"{outcome.title} ({folder.name})" if folder and is_repetition else outcome.title


def _scores(outcome: "Outcome") -> list[float | None]:
    """The mIoU of each level on `val`; none without scores."""
    scores = outcome.result.get("splits", {}).get("val", {"levels": []})
    return [level["miou"] for level in scores["levels"]]
