"""Jobs: the runs of one command, resolved before the first one starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hieraseg.errors import RecipeError
from hieraseg.recipe import Recipe, load_row
from hieraseg.recipe.reading import Override


@dataclass(frozen=True)
class Source:
    """Where a resolved recipe comes from. It can be sent to other processes.

    Attributes:
        path: file of the recipe.
        overrides: overrides of the command line, and values of swept keys.
        plugins: plugin files of the command line.
        row: row of the recipe's sweep.
        seed: seed that replaces the recipe's.
    """

    path: Path
    overrides: tuple[Override, ...] = ()
    plugins: tuple[Path, ...] = ()
    row: str | None = None
    seed: int | None = None

    def load(self) -> Recipe:
        """Resolve the recipe.

        Raises:
            RecipeError: it has problems.
            DataError: the data set's files do not exist.
        """
        recipe = load_row(self.path, self.overrides, self.plugins, self.row)
        return recipe if self.seed is None else recipe.with_seed(self.seed)


@dataclass(frozen=True)
class Job:
    """A run to do.

    Attributes:
        recipe: the resolved recipe.
        name: name of the run, below its recipe's.
        out: folder of all runs.
        source: where the recipe comes from.
        earlier: an earlier run that it goes on with; one without a checkpoint is removed.
    """

    recipe: Recipe
    name: str
    out: Path
    source: Source
    earlier: Path | None = None

    @property
    def title(self) -> str:
        """Path of the run folder below `out`."""
        return self.folder().relative_to(self.out).as_posix()

    def folder(self) -> Path:
        """The run folder, unless another run has this name already."""
        seed = self.recipe.training.seed
        return self.out / self.recipe.path.stem / f"{self.name}-seed{seed}"

    def packed(self) -> "PackedJob":
        """The job for another process."""
        return PackedJob(
            self.source, self.name, self.out, self.earlier, self.title, _content(self.recipe)
        )


@dataclass(frozen=True)
class PackedJob:
    """A job that can be pickled, although components of plugin files cannot.

    Attributes:
        source: where the recipe comes from.
        name: name of the run.
        out: folder of all runs.
        earlier: an earlier run that it goes on with.
        title: title of the job.
        content: what the recipe and its plugin files were when the job was made.
    """

    source: Source
    name: str
    out: Path
    earlier: Path | None
    title: str
    content: Sequence[str]

    def unpacked(self) -> Job:
        """The job, resolved again.

        Raises:
            RecipeError: the recipe, a plugin file, or a variable in it has changed since.
        """
        recipe = self.source.load()
        if _content(recipe) != self.content:
            raise RecipeError(
                f"{self.title}: its recipe or a plugin file was changed after this command had "
                "read it, or it has a variable with another value here; run it again"
            )
        return Job(recipe, self.name, self.out, self.source, self.earlier)


def _content(recipe: Recipe) -> list[str]:
    return [recipe.to_yaml(), *(file.sha256 for file in recipe.plugins)]
