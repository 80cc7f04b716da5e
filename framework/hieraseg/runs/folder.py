"""The folder of a run."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Int

from hieraseg.errors import RecipeError, UnwrittenScoresError, WriteError
from hieraseg.files.paths import is_utf8, shown
from hieraseg.files.writing import (
    append_line,
    replacing,
    to_json,
    write_bytes,
    write_errors,
    write_json,
)
from hieraseg.runs.records import (
    Failure,
    Provenance,
    Result,
    checksum,
    read_record,
    read_result,
)

RECORDS = ("provenance.json", "result.json")
"""Files of which a run folder has at least one; a `recipe.yaml` can be anybody's."""


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
        cls.check_place(root, recipe)
        attempt = 1
        while True:
            numbered = name if attempt == 1 else f"{name}-run{attempt}"
            path = root / recipe / f"{numbered}-seed{seed}"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except OSError as error:
                # Not only FileExistsError: `root` may be a link to a disk that is not mounted.
                if os.path.lexists(path):
                    attempt += 1
                    continue
                raise _not_created(path, error) from error
            return cls(path)

    @staticmethod
    def check_place(root: Path, recipe: str) -> None:
        """Check that a folder can be created, before what takes long.

        Raises:
            RecipeError: it cannot.
        """
        parent = root / recipe
        if not is_utf8(parent):
            raise RecipeError(
                f"{shown(parent)}: the path of a run folder must be UTF-8; "
                "choose another place with --out, or rename the recipe"
            )
        above = next(
            one for one in (parent.absolute(), *parent.absolute().parents) if os.path.lexists(one)
        )
        try:
            tempfile.TemporaryFile(dir=above).close()
        except OSError as error:
            raise _not_created(parent, error) from error

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            RecipeError: it is not a run folder.
        """
        folder = cls(Path(path))
        if not is_utf8(folder.path):
            problem = "the path of a run folder must be UTF-8; rename it"
            raise RecipeError(f"{shown(folder.path)}: {problem}")
        if not folder.recipe.is_file():
            is_there = folder.path.exists()
            problem = (
                "is not a run folder (it has no recipe.yaml)" if is_there else "no such folder"
            )
            raise RecipeError(
                f"{path}: {problem}; name one that `hieraseg run` created, such as "
                "runs/<recipe>/<name>-seed0"
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
    def failure(self) -> Path:
        """How the run ended early, and why; only there if it says so itself."""
        return self.path / "failure.json"

    @property
    def lock(self) -> Path:
        """Lock that the process of the run holds until it ends, however it ends."""
        return self.path / "run.lock"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def plugins(self) -> Path:
        """Copies of the plugin files that the run used."""
        return self.path / "plugins"

    @property
    def changes(self) -> Path:
        """Uncommitted changes of the repositories that the code of the run is in."""
        return self.path / "changes"

    @property
    def files(self) -> Path:
        """Copies of the files that the recipe's arguments name."""
        return self.path / "files"

    @property
    def figures(self) -> Path:
        """Figures of predictions."""
        return self.path / "figures"

    @property
    def nonfinite(self) -> Path:
        """Batch and weights of the step that was not finite, if that ended the run."""
        return self.path / "nonfinite"

    def counts(self, key: str) -> Path:
        """Counts of each image of a split and protocol (see `metrics.protocol.score_key`)."""
        name = key.replace("%", "%25").replace("/", "%2F")  # one folder holds them all
        return self.path / "evaluation" / f"{name}.npz"

    def checkpoint(self, which: str) -> Path:
        """Folder of the `best` or the `last` checkpoint."""
        return self.path / "checkpoints" / which

    def make_folder(self, path: Path) -> None:
        """Create a folder, in the run folder or elsewhere, unless it exists.

        Raises:
            WriteError: it cannot be created, or a folder of the run that it is in is a symbolic
                link, which could lead anywhere.
        """
        for folder in (path, *path.parents):
            if folder.is_symlink() and self.path in folder.parents:
                raise WriteError(f"{folder}: is a symbolic link, which a run never has; remove it")
        with write_errors(path):
            if self.path in path.parents:
                self.path.stat()  # a run folder that was removed stays so
            path.mkdir(parents=True, exist_ok=True)

    def new_copy(self, folder: Path, original: Path) -> Path:
        """Path for a copy of a file, whose name gets a number if it is taken.

        Args:
            folder: `plugins`, `files` or `changes`, which is created unless it exists.
            original: the file.

        Raises:
            WriteError: the folder cannot be created.
        """
        self.make_folder(folder)
        copy, number = folder / original.name, 2
        while copy.exists():
            copy = folder / f"{original.stem}_{number}{original.suffix}"
            number += 1
        return copy

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a validation's record to `metrics.jsonl`.

        Raises:
            WriteError: the file cannot be written.
            DivergedError: a number is not finite.
        """
        append_line(self.metrics, to_json(self.metrics, record))

    def read_metrics(self, most: int | None = None) -> list[dict[str, Any]]:
        """The records of the validations; a last line that was cut off is left out.

        Args:
            most: number of records to read; those that follow may be damaged.

        Raises:
            RecipeError: the file is damaged.
        """
        if not self.metrics.is_file():
            return []
        records = []
        for number, line in enumerate(self.metrics.read_bytes().split(b"\n")[:-1][:most], 1):
            try:
                records.append(json.loads(line))
                problem = "" if isinstance(records[-1], dict) else "no record"
            except (ValueError, RecursionError) as error:
                problem = str(error)
            if problem:
                raise RecipeError(
                    f"{self.metrics}: line {number}: is damaged ({problem}); restore it from a copy"
                )
        return records

    def keep_metrics(self, validations: int) -> None:
        """Keep the records of the first validations alone.

        Raises:
            RecipeError: there are fewer, or the file is damaged.
            WriteError: it cannot be written.
        """
        found = len(self.read_metrics(validations))
        if found < validations:
            raise RecipeError(
                f"{self.metrics}: has records of {found} of {validations} validations; restore it "
                "from a copy, or run the recipe again"
            )
        content = self.metrics.read_bytes() if validations else b""
        lines = content.splitlines(keepends=True)[:validations]
        write_bytes(self.metrics, b"".join(lines))

    def read_provenance(self) -> Provenance:
        """Read `provenance.json`.

        Raises:
            RecipeError: there is none, or it is damaged.
        """
        try:
            provenance: Provenance = read_record(self.provenance, Provenance)
        except FileNotFoundError:
            raise RecipeError(
                f"{self.provenance}: no such file; restore it from a copy, or run the recipe again"
            ) from None
        return provenance

    def recipe_digests(self) -> set[str]:
        """SHA-256 of the recipe as the run began with it, and each time the run was resumed.

        Raises:
            RecipeError: `provenance.json` is damaged.
        """
        if not self.provenance.is_file():
            return set()
        recorded = self.read_provenance()
        digests = {one["recipe"] for one in recorded.get("resumed", ()) if "recipe" in one}
        if "recipe" in recorded:
            digests.add(hashlib.sha256(recorded["recipe"].encode()).hexdigest())
        return digests

    def read_result(self) -> Result:
        """Read `result.json`.

        Raises:
            RecipeError: the run is not finished, or the file is damaged.
        """
        try:
            return read_result(self.result)
        except FileNotFoundError:
            raise RecipeError(
                f"{self.path}: has no result.json, so its run did not finish; run it again"
            ) from None

    def read_failure(self) -> Failure | None:
        """Read `failure.json`; None if the run did not say how it ended.

        Raises:
            RecipeError: the file is damaged.
        """
        try:
            failure: Failure = read_record(self.failure, Failure)
        except FileNotFoundError:
            return None
        return failure

    def is_finished(self) -> bool:
        """Whether the run is trained to its end, and scored.

        Raises:
            RecipeError: `result.json` is damaged.
        """
        return self.result.is_file() and bool(self.read_result()["cost"])

    def mark_unfinished(self) -> None:
        """Let the result, if there is one, be that of a run which is not finished."""
        if self.result.is_file():
            with self._lock():
                result = {**self.read_result(), "cost": {}}
                write_json(self.result, {**result, "checksum": checksum(result)})

    def write_scores(
        self,
        key: str,
        scores: dict[str, Any],
        counts: Mapping[str, Int[np.ndarray, "..."]],
        ids: list[str],
        cost: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any] | None:
        """Add the scores of a split to `result.json`, and write their counts as `.npz`.

        Changes by several processes at once are all kept.

        Args:
            key: split and protocol (see `metrics.protocol.score_key`).
            scores: as `metrics.summarize` gives them, with their protocol.
            counts: counts of each image, by name.
            ids: ids of the images, in the order of the counts' rows.
            cost: cost of training, which makes the run a finished one.

        Returns:
            The scores that were replaced, if there were any.

        Raises:
            UnwrittenScoresError: they cannot be written.
            DivergedError: a score is not finite.
        """
        try:
            return self._write_scores(key, scores, {"ids": np.array(ids), **counts}, cost)
        except (WriteError, RecipeError) as error:
            raise UnwrittenScoresError(str(error), scores) from error

    def _write_scores(
        self,
        key: str,
        scores: Mapping[str, Any],
        arrays: Mapping[str, Any],
        cost: Mapping[str, Any] | None,
    ) -> Mapping[str, Any] | None:
        counts_file = self.counts(key)
        self.make_folder(counts_file.parent)
        with self._lock():
            result: dict[str, Any] = {"splits": {}, "cost": {}}
            if self.result.exists():
                result = {**self.read_result()}
            replaced = result["splits"].get(key)
            result["splits"] |= {key: scores}
            if cost is not None:
                result["cost"] = cost
            text = to_json(self.result, {**result, "checksum": checksum(result)}, indent=2)
            # Both are complete before either is replaced.
            with replacing(self.result) as new_result:
                new_result.write_text(f"{text}\n", encoding="utf-8")
                with replacing(counts_file) as new_counts, new_counts.open("wb") as file:
                    np.savez_compressed(file, **arrays)
        return replaced

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time change the result."""
        path = self.result.with_suffix(".lock")
        with write_errors(path):
            if path.is_symlink():
                path.unlink()
            lock = FileLock(path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _not_created(path: Path, error: OSError) -> RecipeError:
    """The error of a folder that cannot be created."""
    return RecipeError(
        f"{path}: the run folder cannot be created ({error.strerror}); choose another place with "
        "--out"
    )
