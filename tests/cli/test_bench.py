"""`hieraseg bench`: figures that agree with each other, and refusals in one sentence."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from hieraseg.bench import BenchReport, bench, estimate_fit
from hieraseg.cli import main
from hieraseg.cli.bench_report import as_json, as_text
from hieraseg.errors import RecipeError
from hieraseg.recipe import Recipe, load
from hieraseg.training.averaging import WeightAverage
from hieraseg.training.setup import set_up
from hieraseg.training.step import train_step
from hieraseg.training.throughput import ThroughputMeter
from hieraseg.training.timing import PARTS
from tests.support import oracle, tiny_model

SETTINGS = f"""\
plugins: [{oracle.PLUGIN}, {tiny_model.__file__}]
backbone: two_convolutions
decoder: linear
input: {{size: [32, 32]}}
"""


def write_recipe(folder: Path) -> str:
    return oracle.write_oracle_recipe(folder, SETTINGS)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return load(write_recipe(tmp_path_factory.mktemp("bench")), [], [])


@pytest.fixture(scope="module")
def report(recipe: Recipe) -> BenchReport:
    """With a moving average of the weights that takes a tenth of a second."""
    update = WeightAverage.update

    def slow(average: WeightAverage, rate: torch.Tensor) -> None:
        time.sleep(0.1)
        update(average, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", slow)
        return bench(replace(recipe, training=replace(recipe.training, ema=0.9)), 2)


def test_shares_add_up(report: BenchReport) -> None:
    shares = report.cost.shares
    assert tuple(shares) == PARTS
    assert sum(shares.values()) == pytest.approx(1)
    assert all(share > 0 for share in shares.values())
    assert max(PARTS, key=lambda part: shares[part]) == "averaging"


def test_operations_are_those_of_the_convolutions(report: BenchReport) -> None:
    """Two images of 32 x 32, of which each convolution makes 16 x 16 positions."""
    first, grouped = 2 * 2 * 256 * 4 * 27, 2 * 2 * 256 * 4 * 9
    classifier = 2 * 2 * 256 * 7 * 4  # the loss needs the leaves alone
    forward = first + grouped + classifier
    backward = first + 2 * grouped + 2 * classifier  # the image has no gradient
    assert report.cost.flops == forward + backward


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda(recipe: Recipe, report: BenchReport) -> None:
    on_cuda = bench(replace(recipe, training=replace(recipe.training, device="cuda")), 20)
    assert on_cuda.not_captured is None
    assert on_cuda.cost.host_waits == 0
    assert on_cuda.cost.flops == report.cost.flops
    assert on_cuda.idle is not None
    assert 0 <= on_cuda.idle < 1
    assert on_cuda.fit is not None
    assert on_cuda.fit >= on_cuda.batch_size
    assert sum(on_cuda.cost.shares.values()) == pytest.approx(1)
    assert on_cuda.cost.peak_flops > 1e12


def test_figures_agree(report: BenchReport) -> None:
    rates = report.throughput
    assert min(rates.data, rates.step, rates.both) > 0
    assert rates.waiting == pytest.approx(max(0, 1 - rates.both / rates.step))
    used = report.cost.flops * rates.step / report.batch_size / report.cost.peak_flops
    assert report.used == pytest.approx(used)
    assert report.peak_memory is None or report.peak_memory > 1e6
    assert report.cost.host_waits == 0
    assert report.not_captured == "the device is a CPU"


def test_training_that_diverges_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--steps", "1", "--optimizer.lr", "1e38"]
    assert main(["bench", write_recipe(tmp_path), *words]) == 0
    assert "warning: training diverged in step" in capsys.readouterr().err


def test_json(report: BenchReport, recipe: Recipe) -> None:
    result = as_json(report, recipe)
    assert json.loads(json.dumps(result)) == result
    assert result["batch_size"] == 2
    assert result["size"] == [32, 32]
    assert result["captured"] is False
    assert result["gpu_idle"] is None
    assert set(result["images_per_second"]) == {"data", "step", "both"}


def test_text_has_all_figures(report: BenchReport, recipe: Recipe) -> None:
    text = as_text(report, recipe)
    for part in PARTS:
        assert f"\n{part} " in text
    assert f"{report.throughput.both:,.1f}" in text
    assert text.endswith(report.advice)
    assert "per step fit" not in text
    assert "GiB; about 24 images per step fit\n" in as_text(replace(report, fit=24), recipe)


def fit_on_stand_in(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """For a GPU of 1000 bytes, of which each image of a part of the batch takes 10."""

    def peak(work: partial[object], device: torch.device) -> int:
        work()
        return 100 + 10 * len(work.args[-1].seeds) // recipe.training.accumulate

    monkeypatch.setattr("hieraseg.bench.peak_of", peak)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1000, 1000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 0)
    parts, state = set_up(recipe)
    meter = ThroughputMeter(parts, partial(train_step, parts, state), 1)
    return estimate_fit(parts, state, meter, needed=120)


def test_how_many_images_fit_is_found_by_steps(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all images and with half of them."""
    assert fit_on_stand_in(recipe, monkeypatch) == 90


@pytest.mark.parametrize(("batch_size", "expected"), [(4, 180), (2, None)])
def test_how_many_images_fit_in_parts_of_a_batch(
    batch_size: int, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of one image have no half."""
    words = [("training.batch_size", str(batch_size)), ("training.accumulate", "2")]
    recipe = load(write_recipe(tmp_path), words)
    assert fit_on_stand_in(recipe, monkeypatch) == expected


def test_how_many_images_fit_of_a_model_that_cannot_train_on_one(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RecipeError("batch normalisation needs more than one value per channel")

    monkeypatch.setattr("hieraseg.bench.train_step", refuse)
    assert fit_on_stand_in(recipe, monkeypatch) is None


def test_it_writes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    words = ["--json", "--steps", "1", "--training.batch_size", "4"]
    assert main(["bench", recipe, *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["recipe"], result["steps"], result["batch_size"]) == (recipe, 1, 4)
    assert result["parts"]["averaging"] == 0  # without `training.ema`
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--training.devices", "2"], "--training.devices 1 --training.num_nodes 1"),
        (["--steps", "0"], "--steps: must be a positive integer"),
        (["--loss", "no_such_loss"], "no_such_loss"),
    ],
)
def test_refusals(
    words: Sequence[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(tmp_path)
    try:
        code = main(["bench", recipe, *words])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert problem in capsys.readouterr().err
