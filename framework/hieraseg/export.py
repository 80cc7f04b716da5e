"""Job: export a run's model to a file that needs neither its code nor hieraseg."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from hieraseg.console import log, warn
from hieraseg.errors import RecipeError, from_here
from hieraseg.exporting.capturing import ExportError, capture
from hieraseg.exporting.checking import (
    LARGEST_DIFFERENCE,
    SMALLEST_SHARE,
    Agreement,
    cases,
    compare,
)
from hieraseg.exporting.formats import FORMATS, Format
from hieraseg.exporting.module import ExportableModel
from hieraseg.exporting.plans import Plan, plan_any_size, plan_fixed
from hieraseg.exporting.samples import Pixels, sample_images
from hieraseg.exporting.sidecar import describe_file, output_names
from hieraseg.files.writing import replacing, to_json
from hieraseg.runs.loading import LoadedRun, load_run
from hieraseg.settings import Evaluation


def export(
    run: str | Path,
    format: Literal["torch", "onnx"],
    out: str | Path | None = None,
    checkpoint: str = "best",
    size: tuple[int, int] | None = None,
    images: Sequence[str | Path] = (),
    run_plugins: bool = True,
) -> dict[str, Any]:
    """Export a run's model, with normalization, padding, activation and inference rule inside.

    The file takes images of any size if the model allows it. It is compared with the model before
    it appears. A JSON file beside it says how to use it (see `exporting.sidecar`).

    Args:
        run: the run folder.
        format: `torch` for a file of `torch.export` (.pt2), `onnx` for ONNX (.onnx).
        out: the file; by default `export/<checkpoint>` in the run folder.
        checkpoint: `best` or `last`.
        size: height and width of the images, if the file shall take no others.
        images: images to compare on, or folders of them; by default some of the run's validation
            split.
        run_plugins: whether plugin files of the run folder may be run.

    Returns:
        The path of the file, and the content of the JSON file.

    Raises:
        RecipeError: there is no such run or checkpoint, a package is not installed, the model
            cannot be exported, or the file would predict otherwise than the model.
        DataError: an image cannot be read.
        WriteError: a file cannot be written.
    """
    chosen = FORMATS[format]
    chosen.check_packages()
    loaded = load_run(run, checkpoint, "cpu", run_plugins=run_plugins)
    path = _output(loaded, checkpoint, chosen, out)
    _say_what_is_left_out(loaded)
    pixels, source = sample_images(loaded.recipe, loaded.segmenter.hierarchy, images)
    problem = ""
    for plan in _plans(loaded, size):
        if problem:
            height, width = plan.size or (0, 0)
            warn(f"images of any size cannot be exported ({problem}); taking {height}x{width}")
        try:
            content = _write(path, chosen, loaded, checkpoint, plan, pixels, source)
            return {"path": str(path), **content}
        except ExportError as error:
            problem = str(error)
    other = "; use --format torch" if format == "onnx" else ""
    raise RecipeError(f"{run}: cannot be exported to {format}: {problem}{other}")


def _plans(loaded: LoadedRun, size: tuple[int, int] | None) -> Iterator[Plan]:
    """Which images the file could take, the best first."""
    segmenter = loaded.segmenter
    any_size = plan_any_size(segmenter) if size is None else None
    if any_size is not None:
        yield any_size
    fixed = plan_fixed(segmenter, size or segmenter.seen.size)
    if segmenter.seen.resize not in ("stretch", "none"):
        warn(
            f"a file of one size takes stretched images, but the run has input.resize: "
            f"{segmenter.seen.resize}, which keeps the aspect ratio"
        )
    yield fixed


def _say_what_is_left_out(loaded: LoadedRun) -> None:
    own = loaded.own_protocol
    if own.tta != Evaluation().tta:
        warn(f"the file predicts whole images once; the run's evaluation has {own.tta}")


def _output(loaded: LoadedRun, checkpoint: str, format: Format, out: str | Path | None) -> Path:
    """Path of the file, whose folder is created.

    Raises:
        RecipeError: it has another suffix.
    """
    suffix = format.suffix
    path = loaded.folder.path / "export" / f"{checkpoint}{suffix}" if out is None else Path(out)
    if path.suffix != suffix:
        raise RecipeError(f"--out {path}: must end with {suffix}, the suffix of this format")
    loaded.folder.make_folder(path.parent)
    return path


def _write(
    path: Path,
    format: Format,
    loaded: LoadedRun,
    checkpoint: str,
    plan: Plan,
    pixels: Sequence[Pixels],
    source: str,
) -> dict[str, Any]:
    """Write the file and the JSON file beside it, unless it predicts otherwise than the model."""
    log("tracing the model, which takes a minute or more for large ones")
    module = ExportableModel(plan.segmenter, plan.segmenter.padded_model().stride)
    program = capture(module, plan.size)
    with replacing(path.with_name(f"{path.name}.json")) as sidecar, replacing(path) as file:
        format.write(program, output_names(loaded), file)
        agreement = _check(format, file, path, plan, pixels)
        record = None if agreement is None else {"images": source, **asdict(agreement)}
        content = describe_file(file, path.name, loaded, checkpoint, plan, record)
        sidecar.write_text(f"{to_json(sidecar, content, indent=2)}\n", encoding="utf-8")
    if agreement is not None:
        log(f"{agreement}, on images of {source}")
    return content


def _check(
    format: Format, file: Path, path: Path, plan: Plan, pixels: Sequence[Pixels]
) -> Agreement | None:
    """Read the file again, and compare it with the model; None if nothing can run it.

    Raises:
        RecipeError: it predicts otherwise.
    """
    if not format.can_run:
        warn(
            f"{from_here(path)} is not checked, since {format.runtime} is not installed; "
            "`pip install 'hieraseg[export]'`"
        )
        return None
    any_size = plan.size is None
    pairs = [(plan.seen(image), plan.output_size(image)) for image in pixels]
    agreement = compare(format.open(file), plan.segmenter, cases(pairs, any_size), any_size)
    if not agreement:
        raise RecipeError(
            f"{path}: not written, because it predicts otherwise than the model ({agreement}, "
            f"{100 * agreement.consistent:.3f} % as its own scores say; allowed are a difference "
            f"of {LARGEST_DIFFERENCE:g}, and from {100 * SMALLEST_SHARE:g} % on)"
        )
    return agreement
