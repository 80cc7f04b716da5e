"""The folder of a run."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from hieraseg.errors import RecipeError
from hieraseg.metrics import Counts
from hieraseg.runs.files import write_file, write_json


@dataclass(frozen=True)
class RunFolder:
    """`runs/<recipe>/<name>-seed<N>/` and the files in it.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, recipe: str, name: str, seed: int) -> "RunFolder":
        """Create a folder; a number is added to a name that exists, so no run is overwritten.

        Raises:
            RecipeError: the folder cannot be created.
        """
        attempt = 1
        while True:
            numbered = name if attempt == 1 else f"{name}.{attempt}"
            path = root / recipe / f"{numbered}-seed{seed}"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except OSError as error:
                # Not only FileExistsError: `root` may be a link to a disk that is not mounted.
                if os.path.lexists(path):
                    attempt += 1
                    continue
                raise RecipeError(
                    f"{path}: the run folder cannot be created ({error.strerror}); "
                    "choose another place with --out"
                ) from error
            return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            RecipeError: it is not a run folder.
        """
        folder = cls(Path(path))
        if not folder.recipe.is_file():
            raise RecipeError(
                f"{path}: is not a run folder (it has no recipe.yaml); "
                "name one that `hieraseg run` created, such as runs/<recipe>/<name>-seed0"
            )
        return folder

    @property
    def recipe(self) -> Path:
        """Resolved recipe, which can be run again."""
        return self.path / "recipe.yaml"

    @property
    def provenance(self) -> Path:
        """Code, packages, hardware and data of the run."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """Records of the epochs, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """Scores of each split, and the cost of training."""
        return self.path / "result.json"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def plugins(self) -> Path:
        """Copies of the plugin files that the run used."""
        return self.path / "plugins"

    @property
    def figures(self) -> Path:
        """Figures of predictions."""
        return self.path / "figures"

    def checkpoint(self, which: str) -> Path:
        """Folder of the `best` or the `last` checkpoint."""
        return self.path / "checkpoints" / which

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append an epoch's record to `metrics.jsonl`."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read_result(self) -> dict[str, Any]:
        """Read `result.json`.

        Raises:
            RecipeError: the run is not finished, or the file is damaged.
        """
        try:
            return json.loads(self.result.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RecipeError(
                f"{self.path}: has no result.json, so its run did not finish; run it again"
            ) from None
        except json.JSONDecodeError as error:
            raise RecipeError(f"{self.result}: is damaged ({error}); evaluate it again") from error

    def write_scores(
        self, split: str, scores: dict[str, Any], counts: Counts, ids: list[str]
    ) -> None:
        """Add the scores of a split to `result.json`, and write their counts as `.npz`.

        Args:
            split: the split.
            scores: as `metrics.summarize` gives them.
            counts: counts of each image, by name.
            ids: ids of the images, in the order of the counts' rows.
        """
        counts_file = self.path / "evaluation" / f"{split}.npz"
        counts_file.parent.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {"ids": np.array(ids), **counts}

        def write(unfinished: Path) -> None:
            with unfinished.open("wb") as file:
                np.savez_compressed(file, **arrays)

        write_file(counts_file, write)
        self._change_result(lambda result: result["splits"].update({split: scores}))

    def write_cost(self, cost: dict[str, Any]) -> None:
        """Put the cost of training into `result.json`."""
        self._change_result(lambda result: result.update(cost=cost))

    def _change_result(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change `result.json`; changes by several processes at once are all kept."""
        with FileLock(self.result.with_suffix(".lock")):
            result = self.read_result() if self.result.exists() else {"splits": {}, "cost": {}}
            change(result)
            write_json(self.result, result)
