"""From a recipe and options to jobs: all of them, or all of their problems."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from hieraseg.errors import RecipeError
from hieraseg.sweeps.jobs import Job
from hieraseg.sweeps.planning import Request, plan
from tests.support.components import VALID, fakes  # noqa: F401

SWEEP = """\
sweep:
  seeds: [0, 1]
  grid: {optimizer.lr: [1e-3, 1e-4]}
  rows:
    a: {loss: {name: fake_loss, gamma: 0.1}}
    b: {loss: {name: fake_loss, gamma: 0.2}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(VALID + SWEEP)
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.yaml"
    path.write_text(VALID)
    return path


def jobs(path: Path, **options: Any) -> list[Job]:
    return plan(Request(path, **options)).jobs


def titles(path: Path, **options: Any) -> list[str]:
    return [job.title for job in jobs(path, **options)]


def test_a_recipe_alone_is_one_job(plain: Path) -> None:
    planned = plan(Request(plain, out=Path("x")))
    (job,) = planned.jobs
    assert (job.title, job.folder()) == ("plain/base-seed7", Path("x/plain/base-seed7"))
    assert not planned.is_sweep


def test_rows_grid_and_seeds_of_a_recipe(study: Path) -> None:
    planned = plan(Request(study))
    assert [job.title for job in planned.jobs] == [
        f"study/{row},lr={lr}-seed{seed}"
        for row in "ab"
        for lr in ("0.001", "0.0001")
        for seed in (0, 1)
    ]
    assert planned.is_sweep
    values = [
        (job.recipe["loss"].arguments["gamma"], job.recipe["optimizer"].arguments["lr"])
        for job in planned.jobs[::2]
    ]
    assert values == [(0.1, 1e-3), (0.1, 1e-4), (0.2, 1e-3), (0.2, 1e-4)]


def test_the_command_line_replaces_and_adds(study: Path) -> None:
    options = {"seeds": [5], "rows": ["b"], "sweeps": ["optimizer.lr=1", "decoder.width=2,3"]}
    assert titles(study, overrides=[("training.epochs", "9")], **options) == [
        "study/b,lr=1,width=2,epochs=9-seed5",
        "study/b,lr=1,width=3,epochs=9-seed5",
    ]


def test_swept_keys_are_in_the_name_although_they_change_no_score(plain: Path) -> None:
    assert titles(plain, sweeps=["logging.images=1,2"]) == [
        "plain/images=1-seed7",
        "plain/images=2-seed7",
    ]


def test_sections_and_their_keys_can_be_swept_together(plain: Path) -> None:
    both = ["loss.gamma=0,1", "loss=fake_loss"]
    values = [job.recipe["loss"].arguments["gamma"] for job in jobs(plain, sweeps=both)]
    assert values == [0, 1]


def test_all_problems_of_all_jobs_are_listed_by_job(plain: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        jobs(plain, sweeps=["loss.gamma=0,-1,x", "loss.mode=PLAIN,FOKAL"], seeds=[0, 1])
    lines = str(caught.value).splitlines()
    assert [line.partition(" command line: ")[0] for line in lines] == [
        "loss.gamma=0, loss.mode=FOKAL and 2 more:",
        "loss.gamma=x, loss.mode=PLAIN and 1 more:",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"sweeps": ["loss.gama=1,2"]}, r"^command line: loss.gama: .* did you mean 'gamma'\?$"),
        ({"sweeps": ["los=a,b"]}, r"^command line: los: unknown section, did you mean 'loss'\?$"),
        (
            {"sweeps": ["loss.gamma=1,2"], "overrides": [("loss.gamma", "3")]},
            "--loss.gamma: is swept as well",
        ),
        (
            {"sweeps": ["loss.name=fake_loss"], "overrides": [("loss", "fake_loss")]},
            "--loss: is swept as well",
        ),
        ({"sweeps": ["loss.gamma=1,1.0"]}, "are the same recipe, and would give the same run"),
        ({"seeds": [1, 2, 1]}, "--seeds: duplicate 1"),
        ({"seeds": [2**32]}, r"^command line: training.seed: must be in \[0, 4294967296\)"),
        ({"seeds": [1], "overrides": [("training.seed", "2")]}, "--seeds: conflicts with"),
        ({"rows": ["a"]}, "--rows: .*plain.yaml has no rows"),
    ],
)
def test_options_that_do_not_go_together(
    options: dict[str, Any], problem: str, plain: Path
) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        jobs(plain, **options)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rows": ["c"]}, "--rows: no such row 'c', known: a, b"),
        ({"rows": ["a", "a"]}, "--rows: duplicate a"),
        ({"overrides": [("training.seed", "1")]}, "--training.seed: .* use --seeds instead"),
        ({"overrides": [("optimizer.lr", "1")]}, "--optimizer.lr: is swept as well"),
        ({"overrides": [("loss.gamma", "1")]}, "study/a,.* and study/b,.* are the same recipe"),
        ({"overrides": [("training.devices", "2"), ("loss.mod", "1")]}, "loss.mod"),
    ],
)
def test_options_that_do_not_go_with_a_study(
    options: dict[str, Any], problem: str, study: Path
) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        jobs(study, **options)
    assert len(str(caught.value).splitlines()) == 1


def test_jobs_have_equally_many_devices(plain: Path) -> None:
    with pytest.raises(RecipeError, match="all jobs of one command need the same number of devic"):
        jobs(plain, sweeps=["training.devices=1,2"])


def test_a_job_for_another_process_is_the_same(study: Path) -> None:
    for job in jobs(study, sweeps=["decoder.width=2,3"]):
        other = pickle.loads(pickle.dumps(job.packed())).unpacked()
        assert (other.recipe, other.title) == (job.recipe, job.title)


def test_a_recipe_that_changes_meanwhile_is_refused(study: Path) -> None:
    packed = jobs(study)[0].packed()
    study.write_text(study.read_text().replace("0.1", "0.3"))
    with pytest.raises(RecipeError, match="was changed after this command had read it"):
        packed.unpacked()
