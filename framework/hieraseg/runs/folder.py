"""The folder that holds everything a run leaves behind."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from hieraseg.console import log
from hieraseg.errors import RecipeError
from hieraseg.metrics import Counts
from hieraseg.recipe import Recipe, load
from hieraseg.registry.files import PluginFile


@dataclass(frozen=True)
class RunFolder:
    """`runs/<recipe>/<name>-seed<N>/`, and the names of the files in it.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def create(cls, root: Path, recipe: str, name: str, seed: int) -> "RunFolder":
        """A new folder; a name that is taken gets a number, so that no run is overwritten."""
        attempt = 1
        while True:
            numbered = name if attempt == 1 else f"{name}.{attempt}"
            path = root / recipe / f"{numbered}-seed{seed}"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except OSError as error:
                # Not any FileExistsError: `root` may be a link to a disk that is not there.
                if os.path.lexists(path):
                    attempt += 1
                    continue
                raise RecipeError(
                    f"{path}: the run folder cannot be made ({error.strerror}); "
                    "choose another place with --out"
                ) from error
            return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            RecipeError: it is none.
        """
        folder = cls(Path(path))
        if not folder.recipe.is_file():
            raise RecipeError(
                f"{path}: is not a run folder (it has no recipe.yaml); "
                "name one that `hieraseg run` made, such as runs/<recipe>/<name>-seed0"
            )
        return folder

    @property
    def recipe(self) -> Path:
        """The resolved recipe, which can be run again."""
        return self.path / "recipe.yaml"

    @property
    def provenance(self) -> Path:
        """Code, packages, hardware and data that the run was made with."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch and line."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """Scores per split, and cost."""
        return self.path / "result.json"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def plugins(self) -> Path:
        """Copies of the plugin files that the run used."""
        return self.path / "plugins"

    @property
    def figures(self) -> Path:
        """Pictures."""
        return self.path / "figures"

    def keep_plugins(self, files: Sequence[PluginFile]) -> list[dict[str, str]]:
        """Copy plugin files, as they were when they were run.

        Returns:
            Of each: `file`, the copy's path from the run folder; `original`; and its `sha256`.
        """
        kept: list[dict[str, str]] = []
        for file in files:
            self.plugins.mkdir(exist_ok=True)
            copy = self.plugins / file.path.name
            attempt = 2
            while copy.exists():  # two files of one name, from two folders
                copy = self.plugins / f"{file.path.stem}_{attempt}.py"
                attempt += 1
            copy.write_bytes(file.source)
            name = copy.relative_to(self.path).as_posix()
            kept.append({"file": name, "original": str(file.path), "sha256": file.sha256})
        return kept

    def kept_plugins(self) -> list[dict[str, str]]:
        """What `keep_plugins` returned, from the provenance; empty where there is none."""
        try:
            provenance = json.loads(self.provenance.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return provenance.get("plugin_files", [])

    def load_recipe(self) -> Recipe:
        """The run's recipe, with its own copies of plugin files; says where an original changed.

        Raises:
            RecipeError: the recipe has a mistake, or a copy is no longer what the run used.
        """
        for kept in self.kept_plugins():
            copy, original = self.path / kept["file"], Path(kept["original"])
            if copy.is_file() and PluginFile.read(copy).sha256 != kept["sha256"]:
                raise RecipeError(
                    f"{copy}: was changed after the run, whose scores it no longer explains; "
                    "restore it, or run the recipe again"
                )
            try:
                changed = PluginFile.read(original).sha256 != kept["sha256"]
                what = "was changed since this run" if changed else ""
            except RecipeError:
                what = "is gone, or cannot be read"
            if what:
                log(f"{original} {what}; the run's copy {copy} is used")
        return load(self.recipe)

    def checkpoint(self, which: str) -> Path:
        """Folder of the `best` or the `last` checkpoint."""
        return self.path / "checkpoints" / which

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add an epoch's record to `metrics.jsonl`."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read_result(self) -> dict[str, Any]:
        """`result.json`. Raises RecipeError where the run is not finished."""
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
        """Add a split's scores to `result.json`, and the counts they come from as `.npz`."""
        counts_file = self.path / "evaluation" / f"{split}.npz"
        counts_file.parent.mkdir(exist_ok=True)
        unfinished = counts_file.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            arrays: dict[str, Any] = {"ids": np.array(ids), **counts}
            np.savez_compressed(file, **arrays)
        os.replace(unfinished, counts_file)
        with FileLock(self.result.with_suffix(".lock")):
            result = self.read_result() if self.result.exists() else {"splits": {}, "cost": {}}
            result["splits"][split] = scores
            write_json(self.result, result)

    def write_cost(self, cost: dict[str, Any]) -> None:
        """Put the cost of training into `result.json`."""
        write_json(self.result, {**self.read_result(), "cost": cost})


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one step: a reader sees the old one or the new one, whole."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
