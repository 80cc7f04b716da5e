"""From a recipe and a command line to jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hieraseg.errors import DataError, HierasegError, RecipeError
from hieraseg.recipe import Recipe
from hieraseg.recipe.composing import compose
from hieraseg.recipe.reading import COMMAND_LINE, Override
from hieraseg.recipe.shipped import recipe_file
from hieraseg.recipe.sweep import Sweep, row_problem
from hieraseg.sweeps.grid import combinations, read_grid
from hieraseg.sweeps.jobs import Job, Source
from hieraseg.sweeps.names import run_name


@dataclass(frozen=True)
class Request:
    """What a command asks for.

    Attributes:
        recipe: path of the recipe file, or the name of a shipped recipe.
        overrides: overrides of recipe values.
        plugins: plugin files, in addition to those of the recipe.
        seeds: seeds in place of those of the sweep; None to keep them.
        sweeps: swept keys and their values (see `read_grid`).
        zipped: whether these values are paired.
        rows: rows of the sweep; None for all of them.
        name: name of the runs in place of that which says what differs.
        out: folder of all runs.
    """

    recipe: Path | str
    overrides: Sequence[tuple[str, str]] = ()
    plugins: Sequence[Path] = ()
    seeds: Sequence[int] | None = None
    sweeps: Sequence[str] = ()
    zipped: bool = False
    rows: Sequence[str] | None = None
    name: str | None = None
    out: Path = Path("runs")


@dataclass(frozen=True)
class Plan:
    """The jobs of a command.

    Attributes:
        jobs: the jobs, by row, swept values and seed.
        is_sweep: whether there is a sweep, so that finished jobs need not run again.
    """

    jobs: list[Job]
    is_sweep: bool


@dataclass
class _Problems:
    """Problems of resolving several recipes."""

    names: dict[str, list[str]] = field(default_factory=dict)  # by problem, who has it
    is_data: bool = True

    def add(self, name: str, error: HierasegError) -> None:
        self.is_data &= isinstance(error, DataError)
        for line in str(error).splitlines():
            self.names.setdefault(line, []).append(name)

    def check(self, total: int) -> None:
        """Raise all of them; those that not all recipes have are named."""
        lines = []
        for line, names in self.names.items():
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(line if len(names) == total else f"{names[0]}{others}: {line}")
        if lines:
            raise (DataError if self.is_data else RecipeError)("\n".join(lines))


def plan(request: Request) -> Plan:
    """Resolve all jobs of a command.

    Raises:
        RecipeError: all problems of all recipes, or of the options.
        DataError: the only problem is that a data set's files do not exist.
    """
    path = recipe_file(request.recipe)
    sweep = compose(path, request.overrides).sweep
    is_sweep = sweep is not None or request.seeds is not None or bool(request.sweeps)
    jobs = _jobs(replace(request, recipe=path), sweep or Sweep())
    _check_distinct(jobs)
    processes = {(one.recipe.training.devices, one.recipe.training.num_nodes) for one in jobs}
    if len(processes) > 1:
        raise RecipeError(
            "training.devices: all jobs of one command need the same number of devices and nodes; "
            "run them by a command each"
        )
    return Plan(jobs, is_sweep)


def _jobs(request: Request, sweep: Sweep) -> list[Job]:
    """The jobs of all rows, swept values and seeds."""
    rows = _rows(request, sweep)
    typed = read_grid(request.sweeps)
    grid = {key: values for key, values in sweep.grid.items() if _short(key) not in typed}
    _check_conflicts(request, sweep, [*grid, *typed])
    seeds, place = request.seeds, COMMAND_LINE
    if seeds is None and sweep.seeds:
        seeds, place = sweep.seeds, sweep.seeds_place or COMMAND_LINE
    swept = {_short(key) for key in (*grid, *typed)}
    sources = [
        Source(
            Path(request.recipe),
            (*values, *(Override(*one) for one in request.overrides)),
            tuple(request.plugins),
            row,
        )
        for row in rows
        for values in combinations(grid, typed, request.zipped)
    ]
    problems, jobs = _Problems(), []
    for source in sources:
        try:
            recipe = source.load()
            # Imported here, where a recipe could be read, since it imports torch.
            from hieraseg.training.without_data import check_without_data

            check_without_data(recipe)
            seeded = [recipe] if seeds is None else [recipe.with_seed(s, place) for s in seeds]
        except HierasegError as error:
            problems.add(_place(source, swept), error)
            continue
        name = request.name or _name(source, recipe, swept)
        jobs += [
            Job(one, name, request.out, replace(source, seed=one.training.seed)) for one in seeded
        ]
    problems.check(len(sources))
    return jobs


def _rows(request: Request, sweep: Sweep) -> list[str | None]:
    """The rows that are asked for.

    Raises:
        RecipeError: there is no such row, or one is named twice.
    """
    if request.rows is None:
        return list(sweep.rows) or [None]
    if not sweep.rows:
        raise RecipeError(
            f"command line: --rows: {request.recipe} has no rows in a section `sweep`; leave it out"
        )
    for index, name in enumerate(request.rows):
        problem = row_problem(name, sweep.rows)
        if name in request.rows[:index]:
            problem = f"duplicate {name}; give each row once"
        if problem:
            raise RecipeError(f"command line: --rows: {problem}")
    return list(request.rows)


def _check_conflicts(request: Request, sweep: Sweep, swept: Sequence[str]) -> None:
    """Raise RecipeError if an override has the key of something that is swept."""
    typed = {_short(key) for key, _ in request.overrides}
    for key in swept:
        if _short(key) in typed:
            raise RecipeError(
                f"command line: --{key}: is swept as well; leave it out, or give its values by "
                f"--sweep {key}=..."
            )
    seeds = request.seeds
    repeated = [one for index, one in enumerate(seeds or ()) if one in (seeds or ())[:index]]
    if repeated:
        raise RecipeError(
            f"command line: --seeds: duplicate {repeated[0]}, whose run would be the same; "
            "give each seed once"
        )
    if "training.seed" in typed and seeds is not None:
        raise RecipeError("command line: --seeds: conflicts with --training.seed; give one of them")
    if "training.seed" in typed and sweep.seeds:
        raise RecipeError(
            f"command line: --training.seed: {request.recipe} sweeps the seeds; use --seeds instead"
        )


def _check_distinct(jobs: Sequence[Job]) -> None:
    """Raise RecipeError if two jobs would be the same run, or would have the same run folder."""
    by_content: dict[str, Job] = {}
    by_folder: dict[Path, Job] = {}
    for job in jobs:
        same = by_content.setdefault(job.recipe.to_yaml(), job)
        if same is not job:
            raise RecipeError(
                f"{same.title} and {job.title} are the same recipe, and would give the same run; "
                "leave out one of them"
            )
        same = by_folder.setdefault(job.folder(), job)
        if same is not job:
            raise RecipeError(f"{job.title} is the name of two jobs; rename a row of the sweep")


def _name(source: Source, recipe: Recipe, swept: set[str]) -> str:
    """Name of the runs, which has the row, the swept values and other overrides."""
    words = run_name([(one.key, one.text) for one in source.overrides], recipe.to_dict(), swept)
    if source.row is None:
        return words
    return source.row if words == "base" else f"{source.row},{words}"


def _place(source: Source, swept: set[str]) -> str:
    """Which row and swept values a recipe that has problems is."""
    values = [f"{one.key}={one.text}" for one in source.overrides if _short(one.key) in swept]
    return ", ".join([*([source.row] if source.row else []), *values])


def _short(key: str) -> str:
    """`loss` for `loss.name`, which is the same."""
    return key.removesuffix(".name")
