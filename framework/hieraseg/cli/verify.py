"""`hieraseg run RUN --verify`: repeat a run, and say what differs."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg import launch
from hieraseg.cli.failures import Failure, explaining_interrupts, print_failure
from hieraseg.cli.report import print_result
from hieraseg.cli.run_job import run_job
from hieraseg.console import log, warn
from hieraseg.errors import DIFFERENT, RecipeError
from hieraseg.files.paths import expanded, quoted
from hieraseg.importing import importing

if TYPE_CHECKING:  # imports torch
    from hieraseg.runs.folder import RunFolder
    from hieraseg.runs.verifying import Comparison
    from hieraseg.sweeps.jobs import Job

_SHOWN = 5
_UNUSED: dict[str, Any] = {
    "seeds": None,
    "sweeps": [],
    "zip": False,
    "rows": None,
    "workers": 1,
    "launcher": None,
    "plugins": [],
    "dry_run": False,
}
"""Options that make no sense with `--verify`, and their defaults."""
_OPTIONS = {"sweeps": "sweep", "dry_run": "dry-run", "plugins": "plugin", "workers": "jobs"}


@explaining_interrupts("begin again with the same command")
def verify(arguments: Namespace) -> int:
    """Repeat a run beside it, and print what differs.

    Returns:
        0 if results and weights are the same bit by bit, `DIFFERENT` if not, or the exit code of
        the repetition if it fails.

    Raises:
        RecipeError: the run cannot be repeated, or a file of it is damaged.
    """
    with importing():
        from hieraseg.runs.folder import RunFolder
        from hieraseg.runs.verifying import compare_runs

    _check_options(arguments)
    folder = RunFolder.open(_folder_of(str(arguments.recipe)))
    job = _repetition(folder, arguments)
    compare_runs(folder, folder)  # so that a damaged file is not found out after hours
    outcome = run_job(job)
    if outcome.exit_code:
        print_failure(Failure(outcome.message, outcome.exit_code))
        return outcome.exit_code
    if outcome.folder is None or not launch.is_main_process():
        return 0
    comparison = compare_runs(folder, RunFolder(outcome.folder))
    as_json = _as_json(folder.path, outcome.folder, comparison)
    print_result(arguments.json, as_json, _as_text(folder.path, outcome.folder, comparison))
    return DIFFERENT if comparison.differences else 0


def _check_options(arguments: Namespace) -> None:
    for name, default in _UNUSED.items():
        if getattr(arguments, name) != default:
            raise RecipeError(
                f"command line: --{_OPTIONS.get(name, name)}: --verify repeats one run as it was; "
                "leave it out"
            )


def _folder_of(recipe: str) -> Path:
    """The run folder that is meant by itself, or by the recipe in it."""
    path = expanded(recipe)
    return path.parent if path.is_file() else path


def _repetition(folder: "RunFolder", arguments: Namespace) -> "Job":
    """The job that repeats a finished run.

    Raises:
        RecipeError: it is not finished, or the command line changes what results depend on.
    """
    from hieraseg.runs.identity import changed_settings, is_setting
    from hieraseg.runs.loading import load_recipe
    from hieraseg.sweeps.jobs import Job, Source

    wrong = [key for key, _ in arguments.overrides if is_setting(key) or key == "training.seed"]
    if wrong:
        raise RecipeError(
            f"command line: --{wrong[0]}: --verify repeats a run as it was; leave it out"
        )
    if not folder.is_finished():
        raise RecipeError(
            f"{folder.path}: is not finished; go on with `hieraseg resume "
            f"{quoted(folder.path)}` first"
        )
    if changed_settings(folder.read_provenance()):
        warn(
            f"{folder.path}: its settings were changed when it was resumed, so that its repetition "
            "cannot be the same"
        )
    place = folder.path.resolve()
    recipe = load_recipe(folder, overrides=arguments.overrides)
    # Which names the folder of the repetition.
    recipe = replace(recipe, path=place.parent / f"{place.parent.name}.yaml")
    name = place.name.removesuffix(f"-seed{recipe.training.seed}")
    is_default = arguments.out == Path("runs")
    out = place.parents[1] if is_default else arguments.out
    log(f"repeating {folder.path}")
    return Job(recipe, f"{name}-verify", out, Source(folder.recipe))


def _as_json(first: Path, second: Path, comparison: "Comparison") -> dict[str, Any]:
    return {
        "run": str(first),
        "repetition": str(second),
        "identical": not comparison.differences,
        "changes": [one._asdict() for one in comparison.changes],
        "metrics": [one._asdict() for one in comparison.metrics],
        "result": [one._asdict() for one in comparison.result],
        "counts": [one._asdict() for one in comparison.counts],
        "weights": [
            {"place": one.place, "key": one.key, "by": one.by} for one in comparison.weights
        ],
        "not_compared": comparison.not_compared,
    }


def _as_text(first: Path, second: Path, comparison: "Comparison") -> str:
    inputs = [f"{one.part}: {one}" for one in comparison.changes]
    lines = _listed("differences in inputs and environment", inputs)
    lines += _listed("first differences in metrics.jsonl", comparison.metrics)
    lines += _listed("differences in the result", comparison.result)
    lines += _listed("differences in the counts of each image", comparison.counts)
    lines += _listed("differences in the weights", comparison.weights)
    same = "different from" if comparison.differences else "the same, bit by bit, as"
    missing = comparison.not_compared
    rest = f", but for what is not in both: {', '.join(missing)}" if missing else ""
    return "\n".join([*lines, f"{second} is {same} {first}{rest}"])


def _listed(what: str, found: Sequence[object]) -> list[str]:
    if not found:
        return []
    rest = [f"  ... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [f"{what} ({len(found)}):", *(f"  {one}" for one in found[:_SHOWN]), *rest]
