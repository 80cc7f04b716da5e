"""`hieraseg export`: files that predict as the run does, without hieraseg."""

import hashlib
import importlib.util
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import onnxruntime
import pytest
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torch.export.passes import move_to_device_pass

from hieraseg import Prediction
from hieraseg.cli import main
from hieraseg.errors import DataError
from hieraseg.exporting import module, samples
from hieraseg_plugins.decoders.linear import LinearDecoder
from tests.support import oracle, tiny_model
from tests.support.runs import ROOT, read_json

Captured = pytest.CaptureFixture[str]
CHANGES = f"""\
plugins: [{oracle.PLUGIN}, {tiny_model.__file__}]
data: {{name: rectangles, shapes: [[33, 50], [40, 41]], images: 8}}
input: {{size: [24, 32], resize: shorter}}
backbone: two_convolutions
decoder: linear
loss: tree_min
inference: top_down
training: {{seed: 4}}  # whose random weights predict several classes
"""
ONE_SIZE = ("--height", "31", "--width", "40")
PHOTOS = ((33, 50), (40, 41), (7, 90), (61, 23), (24, 32), (5, 1))
TURNED = Image.Exif()  # of a camera that was held upright
TURNED[ExifTags.Base.Orientation] = 6


@pytest.fixture(scope="module", autouse=True)
def unchecked_shapes() -> Iterator[None]:
    """A trace has sizes that are no `int`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of a model with stride 2. Tests must not change it."""
    folder = tmp_path_factory.mktemp("export")
    recipe = oracle.write_oracle_recipe(folder, CHANGES)
    assert main(["run", recipe, "--out", str(folder / "runs")]) == 0
    return next(folder.glob("runs/*/*"))


@pytest.fixture(scope="module")
def photos(run: Path) -> Path:
    """Folder of images of many sizes, and `classes` beside it, what `hieraseg predict` made."""
    folder = run.parents[2] / "photos"
    folder.mkdir()
    for index, (height, width) in enumerate(PHOTOS):
        coarse = np.random.default_rng(index).integers(0, 256, (5, 6, 3), np.uint8)
        photo = Image.fromarray(coarse).resize((width, height))
        photo.save(folder / f"{index}.png", exif=TURNED if index == 0 else None)
    assert main(["predict", str(run), str(folder), "--out", str(folder.parent / "classes")]) == 0
    return folder


@pytest.fixture(scope="module")
def files(run: Path) -> Path:
    """Folder of the run's model in both formats."""
    folder = run.parents[2] / "files"
    for format, suffix in (("onnx", "onnx"), ("torch", "pt2")):
        out = str(folder / f"model.{suffix}")
        assert main(["export", str(run), "--format", format, "--out", out]) == 0
    return folder


def inputs_of(photo: Path, sidecar: dict[str, Any]) -> dict[str, np.ndarray]:
    """Inputs of a file for a photo, as its sidecar describes them, without help of hieraseg."""
    assert sidecar["preprocessing"]["resize"] == "shorter"
    assert "exif_transpose" in sidecar["preprocessing"]["orientation"]
    image = ImageOps.exif_transpose(Image.open(photo))
    sizes = sidecar["preprocessing"]["size"]
    if image.height <= image.width:
        size = sizes[0], max(round(image.width * sizes[0] / image.height), 1)
    else:
        size = max(round(image.height * sizes[1] / image.width), 1), sizes[1]
    seen = image.resize(size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(seen, np.float32).transpose(2, 0, 1)[None] / 255
    return {"image": pixels, "size": np.array([image.height, image.width])}


def class_maps(photo: Path) -> np.ndarray:
    """What `hieraseg predict` wrote, `[L, H, W]`."""
    names = (f"{photo.stem}_level{level}.png" for level in (1, 2, 3))
    return np.stack([np.asarray(Image.open(photo.parents[1] / "classes" / one)) for one in names])


def test_onnx_predicts_as_the_run(files: Path, photos: Path) -> None:
    session = onnxruntime.InferenceSession(files / "model.onnx")
    sidecar = read_json(files / "model.onnx.json")
    seen = set()
    for photo in sorted(photos.iterdir()):
        (classes,) = session.run(["classes"], inputs_of(photo, sidecar))
        np.testing.assert_array_equal(classes[0], class_maps(photo))
        seen |= set(classes[0, -1].ravel())
    assert len(seen) > 1, "the model tells pixels apart"


def test_torch_predicts_as_the_run(files: Path, photos: Path) -> None:
    program = torch.export.load(files / "model.pt2").module()
    sidecar = read_json(files / "model.pt2.json")
    for photo in sorted(photos.iterdir()):
        inputs = inputs_of(photo, sidecar)
        outputs = program(*map(torch.from_numpy, inputs.values()))
        np.testing.assert_array_equal(outputs["classes"][0].numpy(), class_maps(photo))


def test_a_program_moves_to_another_device(files: Path) -> None:
    """No tensor that it makes stays behind. The device `meta` stands in for CUDA."""
    program = move_to_device_pass(torch.export.load(files / "model.pt2"), "meta")
    values = [node.meta.get("val") for node in program.graph.nodes]
    devices = {value.device.type for value in values if isinstance(value, Tensor)}
    assert devices == {"meta"}
    assert not any(node.kwargs.get("device") == torch.device("cpu") for node in program.graph.nodes)
    assert {one.device.type for one in program.constants.values()} == {"meta"}


def test_batches_of_any_number_of_images(files: Path) -> None:
    """Both formats give the same, for batches and sizes that were never traced."""
    session = onnxruntime.InferenceSession(files / "model.onnx")
    program = torch.export.load(files / "model.pt2").module()
    names = [output.name for output in session.get_outputs()]
    for shape, size in (((1, 3, 1, 1), [4, 3]), ((5, 3, 17, 90), [8, 8])):
        image = torch.rand(shape)
        with torch.no_grad():
            outputs = program(image, torch.tensor(size))
        found = session.run(None, {"image": image.numpy(), "size": np.array(size)})
        assert list(outputs) == names
        for name, one in zip(names, found, strict=True):
            np.testing.assert_allclose(one, outputs[name].numpy(), atol=1e-4)


def test_the_example_of_the_documentation(
    files: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    text = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for name in ("model.onnx", "model.onnx.json"):
        shutil.copy(files / name, tmp_path / name.replace("model", "best"))
    Image.open(photos / "0.png").save(tmp_path / "photo.jpg", exif=TURNED)
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert "background" in capsys.readouterr().out
    assert Image.open("classes.png").size == PHOTOS[0], "upright, as the photo is shown"


@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_sidecar(name: str, files: Path, run: Path) -> None:
    sidecar = read_json(files / f"{name}.json")
    assert sidecar["sha256"] == hashlib.sha256((files / name).read_bytes()).hexdigest()
    assert sidecar["classes"][0] == ["background", "body"]
    assert sidecar["classes"][1][sidecar["parents"][2][1]] == "upper_body"  # of low_hand
    assert [len(colors) for colors in sidecar["colors"]] == [2, 3, 7]
    assert sidecar["preprocessing"]["size"] == [24, 32]
    assert (sidecar["activation"], sidecar["inference"]["name"]) == ("sigmoid", "top_down")
    assert (sidecar["run"], sidecar["checkpoint"]) == (str(run), "best")
    assert sidecar["outputs"]["scores_level3"]["shape"] == ["batch", 7, "size[0]", "size[1]"]
    assert list(sidecar["outputs"])[-1] == "classes"
    assert sidecar["check"]["difference"] < 1e-5
    assert sidecar["check"]["equal"] > 0.999
    assert len({tuple(size) for size in sidecar["check"]["sizes"]}) > 1
    assert {"torch", "hieraseg"} <= set(sidecar["versions"])


def test_one_size(run: Path, photos: Path, tmp_path: Path, capfd: Captured) -> None:
    """A file for images of one size has no other input, and stretches images, which is said."""
    folder = tmp_path / "folder"
    assert export(run, folder, *ONE_SIZE, "--images", str(photos), "--json") == 0
    captured = capfd.readouterr()
    printed = json.loads(captured.out)
    assert printed == {"path": str(folder / "a.pt2"), **read_json(folder / "a.pt2.json")}
    assert printed["preprocessing"]["resize"] == "stretch"
    assert printed["preprocessing"]["size"] == [31, 40]
    assert printed["check"]["images"] == "--images"
    assert "the run has input.resize: shorter" in captured.err
    assert "largest difference of scores" in captured.err
    assert len(captured.err.splitlines()) == 4, "exporters are not heard"
    program = torch.export.load(folder / "a.pt2").module()
    assert program(torch.rand(3, 3, 31, 40))["classes"].shape == (3, 3, 31, 40)
    with pytest.raises(AssertionError):
        program(torch.rand(3, 3, 32, 40))


def export(run: Path, out: Path, *words: str) -> int:
    """Export as torch.export, which takes less time."""
    return main(["export", str(run), "--format", "torch", "--out", str(out / "a.pt2"), *words])


def test_a_file_that_predicts_otherwise_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def wrong(*arguments: Any) -> list[Tensor]:
        return [level * 0.99 for level in level_scores(*arguments)]

    level_scores = module.level_scores
    monkeypatch.setattr(module, "level_scores", wrong)
    (tmp_path / "a.pt2").write_text("of another run")
    assert export(run, tmp_path, *ONE_SIZE) == 2
    error = capsys.readouterr().err
    assert "not written, because it predicts otherwise than the model" in error
    assert "largest difference of scores" in error
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt2"]
    assert (tmp_path / "a.pt2").read_text() == "of another run"


def test_a_model_that_depends_on_the_size(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """It is exported for one size, with the line that depends on it."""

    def forward(self: LinearDecoder, pyramid: Sequence[Tensor]) -> Prediction:
        factor = 2.0 if pyramid[-1].shape[-1] > 20 else 1.0
        return original(self, [factor * pyramid[-1]])

    original = LinearDecoder.forward
    monkeypatch.setattr(LinearDecoder, "forward", forward)
    assert export(run, tmp_path) == 0
    error = capsys.readouterr().err
    assert "images of any size cannot be exported" in error
    assert "test_export.py" in error
    assert "depends on the size of the image); taking 24x32" in error
    assert list(read_json(tmp_path / "a.pt2.json")["inputs"]) == ["image"]


def test_a_model_that_cannot_be_traced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def forward(self: LinearDecoder, pyramid: Sequence[Tensor]) -> Prediction:
        if pyramid[-1].mean() > 0:
            raise AssertionError
        return original(self, pyramid)

    original = LinearDecoder.forward
    monkeypatch.setattr(LinearDecoder, "forward", forward)
    assert export(run, tmp_path) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"hieraseg: error: {run}: cannot be exported to torch: ")
    assert not list(tmp_path.iterdir())


def test_an_operation_that_onnx_lacks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def forward(self: LinearDecoder, pyramid: Sequence[Tensor]) -> Prediction:
        return original(self, [torch.special.bessel_j0(pyramid[-1])])

    original = LinearDecoder.forward
    monkeypatch.setattr(LinearDecoder, "forward", forward)
    out = str(tmp_path / "a.onnx")
    assert main(["export", str(run), "--format", "onnx", "--out", out, *ONE_SIZE]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "bessel_j0" in last
    assert last.endswith("use --format torch")
    assert not list(tmp_path.iterdir())


def without(package: str) -> Any:
    """`importlib.util.find_spec` where a package is not installed."""
    find_spec = importlib.util.find_spec
    return lambda name: None if name == package else find_spec(name)


def test_without_onnx(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("hieraseg.exporting.formats.find_spec", without("onnxscript"))
    out = str(tmp_path / "a.onnx")
    assert main(["export", str(run), "--format", "onnx", "--out", out]) == 2
    assert "pip install 'hieraseg[export]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_what_runs_a_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("hieraseg.exporting.formats.find_spec", without("torch"))
    assert export(run, tmp_path, *ONE_SIZE) == 0
    assert "is not checked, since torch is not installed" in capsys.readouterr().err
    assert read_json(tmp_path / "a.pt2.json")["check"] is None


def test_without_the_data_of_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def missing(*_: object) -> None:
        raise DataError("data.root: no such folder")

    monkeypatch.setattr(samples, "build_dataset", missing)
    assert export(run, tmp_path, *ONE_SIZE) == 0
    assert "comparing on noise" in capsys.readouterr().err
    assert read_json(tmp_path / "a.pt2.json")["check"]["images"] == "noise"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--out", "a.onnx"], "must end with .pt2"),
        (["--height", "32"], "give both of them, or none"),
        (["--checkpoint", "best", "--images", "nowhere.png"], "nowhere.png: no such image"),
    ],
)
def test_bad_arguments(words: list[str], problem: str, run: Path, capsys: Captured) -> None:
    assert main(["export", str(run), "--format", "torch", *words]) in (2, 3)
    assert problem in capsys.readouterr().err
    assert not (run / "export").exists() or not list((run / "export").iterdir())
