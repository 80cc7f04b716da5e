"""`hieraseg validate --build`: everything is built, and takes one step."""

import json
from pathlib import Path

import pytest

from hieraseg.cli import main
from tests.support.pascal_part import write_pascal_folder

ROOT = Path(__file__).parents[2]
QUICKSTART = str(ROOT / "recipes/quickstart.yaml")
SMALL = (
    *("--input.size", "[64, 64]", "--data.image_size", "[64, 64]"),
    *("--data.train_images", "40", "--data.val_images", "30"),
    *("--training.batch_size", "4", "--backbone.weights", "null"),
)
DECODER = '''
from hieraseg import Prediction, registry
from torch import nn


@registry.decoders.register("mine")
class Mine(nn.Module):
    """One classifier.

    Args:
        channels: of the pyramid.
        num_classes: of the levels.
        inputs: channels of the last stage; null for the right ones.
        extra: classes too many.
        fails: raise an error.
    """

    def __init__(self, channels, num_classes, inputs: int | None = None, extra: int = 0,
                 fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        sizes = [classes + extra for classes in num_classes]
        self.heads = nn.ModuleList(nn.Conv2d(inputs or channels[-1], n, 1) for n in sizes)

    def forward(self, pyramid):
        if self.fails:
            raise RuntimeError("no luck\\ntoday")
        return Prediction(tuple(head(pyramid[-1]) for head in self.heads))
'''

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def decoder(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "my_decoder.py"
    path.write_text(DECODER)
    return ("--plugin", str(path), "--decoder", "mine")


def test_a_recipe_that_can_be_built(capsys: Captured) -> None:
    assert main(["validate", QUICKSTART, "--build", *SMALL, "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    trial = answer["trial"]
    assert trial["images"] == 4  # no more are decoded
    assert trial["loss"] > 0
    assert trial["parameters"] > 1e6
    assert trial["peak_memory_bytes"] > 2**20
    # The length of the training is that of a run: 8 epochs of 10 steps.
    assert main(["validate", QUICKSTART, "--build", *SMALL, "--schedule.warmup", "79 steps"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{QUICKSTART}: ok; one step on the CPU: loss ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--decoder.inputs", "7"],
            "mine fails in its first step ({file}:28): RuntimeError: Given",
        ),
        (["--decoder.extra", "1"], "decoder: mine returns logits with [3, 4, 8] channels per"),
        (["--decoder.fails", "true"], "({file}:27): RuntimeError: no luck today"),
    ],
)
def test_a_decoder_that_does_not_fit(
    words: list[str], expected: str, decoder: tuple[str, ...], capsys: Captured
) -> None:
    command = ["validate", QUICKSTART, *SMALL, *decoder, *words]
    assert main(command) == 0  # nothing is wrong with the recipe
    capsys.readouterr()
    assert main([*command, "--build"]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert expected.format(file=decoder[1]) in line


def test_what_a_run_would_refuse_is_refused(capsys: Captured) -> None:
    words = ["validate", QUICKSTART, "--build", *SMALL, "--schedule.warmup", "80 steps"]
    assert main(words) == 2
    problem = "command line: schedule.warmup: cosine: must be less than the 80 steps of training"
    assert problem in capsys.readouterr().out


def test_data(tmp_path: Path, capsys: Captured) -> None:
    recipe = str(ROOT / "recipes/pascal_part/weighted_ce.yaml")
    root = write_pascal_folder(tmp_path / "data", images=40)
    words = [recipe, "--data.root", str(root), *SMALL[:2], *SMALL[8:], "--backbone.weights", "null"]
    assert main(["validate", *words, "--build"]) == 0, capsys.readouterr().out
    (root / "JPEGImages/2008_000001.jpg").write_bytes(b"")
    assert main(["validate", *words, "--build"]) == 3
    assert "2008_000001.jpg" in capsys.readouterr().out
    nowhere = [recipe, "--data.root", str(tmp_path / "nowhere")]
    assert main(["validate", *nowhere]) == 0
    assert "ok, but a run needs its data: command line: data.root: " in capsys.readouterr().out
    assert main(["validate", *nowhere, "--build"]) == 3
    # A mistake in the recipe counts for more.
    assert main(["validate", *nowhere, "--loss.gama", "2"]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 3
