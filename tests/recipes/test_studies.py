"""The shipped studies: all of their jobs resolve, train alike, and take a step."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hieraseg.recipe import Recipe
from hieraseg.recipe.shipped import recipe_file
from hieraseg.sweeps.planning import Request, plan
from hieraseg.training.dry_run import dry_run
from tests.support.pascal_part import write_pascal_folder
from tests.support.runs import SMALL

ROWS = (
    *("flat", "weighted_ce", "tree_min", "tree_min_gamma2", "hssn", "marginal_ce"),
    *("max_constraint", "logic_rules", "hyperbolic"),
)
VARIED = {"loss", "inference", "decoder"}
"""Sections in which the rows of a study differ. The decoder of one is a part of its loss."""


def without_varied(recipe: Recipe) -> Recipe:
    """The recipe as far as all rows should share it."""
    shared = {key: one for key, one in recipe.components.items() if key not in VARIED}
    return replace(recipe, components=shared)


@pytest.mark.parametrize(
    ("study", "rules"),
    [
        ("study_quickstart", ["independent", "best_path"]),
        ("pascal_part/study", ["independent", "best_path"]),
        ("pascal_part/study_cpu", ["best_path"]),
    ],
)
def test_rows_differ_in_loss_and_inference_only(
    study: str, rules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pascal_folder(tmp_path / "pascal_part", images=3)
    monkeypatch.setenv("HIERASEG_DATA", str(tmp_path))
    jobs = plan(Request(study)).jobs
    folder = recipe_file(study).stem
    assert [job.title for job in jobs] == [
        f"{folder}/{row},inference={rule}-seed{seed}"
        for row in ROWS
        for rule in rules
        for seed in (0, 1, 2)
    ]
    shared = {without_varied(job.recipe.with_seed(0)).to_yaml() for job in jobs}
    assert len(shared) == 1
    others = {job.name.partition(",")[0] for job in jobs if job.recipe["decoder"].name != "skip"}
    assert others == {"hyperbolic"}


def test_each_row_takes_a_step() -> None:
    overrides = zip((key.removeprefix("--") for key in SMALL[::2]), SMALL[1::2], strict=True)
    kept = [(key, value) for key, value in overrides if key != "decoder.width"]  # of `skip` alone
    request = Request("study_quickstart", kept, seeds=[0], sweeps=["inference=best_path"])
    jobs = plan(request).jobs
    assert len(jobs) == len(ROWS)
    for job in jobs:
        assert dry_run(job.recipe).images == 4, job.title


def test_the_study_of_the_guide(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/comparing.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "my_study.yaml").write_text(study, encoding="utf-8")
    jobs = plan(Request(tmp_path / "my_study.yaml")).jobs
    assert len(jobs) == 18
    assert jobs[0].title == "my_study/tree_min,inference=independent-seed0"
