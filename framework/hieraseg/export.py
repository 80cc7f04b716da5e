"""Job: export a run's model to a file that needs neither its code nor hieraseg."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
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
from hieraseg.exporting.module import ExportableModel, output_names
from hieraseg.exporting.plans import Plan, plan_any_size, plan_fixed
from hieraseg.exporting.samples import Pixels, Samples, sample_images
from hieraseg.exporting.sidecar import describe_file
from hieraseg.files.writing import replacing, to_json
from hieraseg.inference.segmenter import Segmenter
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
    samples = sample_images(loaded.recipe, loaded.segmenter.hierarchy, images)
    own_size = loaded.segmenter.seen.size
    attempts: list[Callable[[Segmenter], Plan]] = [partial(plan_fixed, size=size or own_size)]
    if size is None:
        attempts.insert(0, plan_any_size)
    problem = ""
    for make_plan in attempts:
        try:
            plan = make_plan(loaded.segmenter)
            _say_what_is_special(loaded, plan, problem)
            content = _write(path, chosen, loaded, checkpoint, plan, samples)
            return {"path": str(path), **content}
        except ExportError as error:
            problem = str(error)
    other = "; use --format torch" if format == "onnx" else ""
    raise RecipeError(f"{run}: cannot be exported to {format}: {problem}{other}")


def _say_what_is_special(loaded: LoadedRun, plan: Plan, problem: str) -> None:
    """Warn of images that a file does not take as the run does.

    Args:
        loaded: the run.
        plan: which images the file takes.
        problem: why it does not take images of any size; empty if it does, or was asked not to.
    """
    own, resize = loaded.own_protocol, loaded.segmenter.seen.resize
    if own.tta != Evaluation().tta:
        warn(f"the file predicts whole images once; the run's evaluation has {own.tta}")
    if plan.size is None:
        return
    height, width = plan.size
    if problem:
        warn(f"images of any size cannot be exported ({problem}); taking {height}x{width}")
    if resize in ("shorter", "longer"):
        warn(
            f"a file of one size takes stretched images, but the run has input.resize: {resize}, "
            "which keeps the aspect ratio"
        )


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
    samples: Samples,
) -> dict[str, Any]:
    """Write the file and the JSON file beside it, unless it predicts otherwise than the model."""
    log("tracing the model, which takes a minute or more for large ones")
    module = ExportableModel(plan.segmenter, plan.segmenter.padded_model().stride)
    program = capture(module, plan.size)
    levels = loaded.segmenter.hierarchy.num_levels
    names = output_names(len(loaded.metadata["num_classes"]), levels)
    with replacing(path.with_name(f"{path.name}.json")) as sidecar, replacing(path) as file:
        format.write(program, names, file)
        agreement = _check(format, file, path, plan, samples.images)
        record = None if agreement is None else {"images": samples.source, **asdict(agreement)}
        content = describe_file(file, path.name, loaded, checkpoint, plan, record)
        sidecar.write_text(f"{to_json(sidecar, content, indent=2)}\n", encoding="utf-8")
    if agreement is not None:
        log(f"{agreement}, on images of {samples.source}")
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
    if not agreement.is_within_tolerance:
        raise RecipeError(
            f"{path}: not written, because it predicts otherwise than the model ({agreement}, "
            f"{100 * agreement.consistent:.3f} % as its own scores say; allowed are a difference "
            f"of {LARGEST_DIFFERENCE:g}, and from {100 * SMALLEST_SHARE:g} % on)"
        )
    return agreement
