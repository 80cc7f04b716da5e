"""Job: predict images of the user with a run's model."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PIL import Image

from hieraseg.console import progress
from hieraseg.data.finding import find_images
from hieraseg.data.images import count_pixels
from hieraseg.data.prefetch import prefetch
from hieraseg.errors import DataError, WriteError, exhausted_memory, first_few
from hieraseg.files.writing import write_json
from hieraseg.runs.figures import write_class_names
from hieraseg.runs.outputs import INDEX, ImageOutputs, Outputs, plan_outputs, write_outputs
from hieraseg.runs.predictor import Predictor, Prepared, load
from hieraseg.runs.segmentation import Segmentation

Result = TypeVar("Result")
_THREADS = min(os.cpu_count() or 1, 4)
_LARGE = 2**27  # bytes; larger images are in memory one at a time


def predict(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    checkpoint: str = "best",
    device: str = "auto",
    tta: Mapping[str, Any] | None = None,
    run_plugins: bool = True,
    outputs: Outputs | None = None,
    on_written: Callable[[ImageOutputs], Any] = lambda written: None,
) -> list[ImageOutputs]:
    """Predict images at their own size.

    Images are read by threads before they are needed, and outputs are written by threads while
    the next images are predicted; a few images are in memory at a time, and large ones alone.
    `classes.json` lists the classes of each level, and `predictions.json` the files of each image.

    Args:
        run: the run folder.
        images: image files, or folders of which all images are taken (see `find_images`).
        out: folder to write to. It is not searched for images.
        checkpoint: `best` or `last`.
        device: `auto`, `cpu` or `cuda`.
        tta: settings of `Evaluation` that replace those of the recipe, such as `flip`.
        run_plugins: whether plugin files of the run folder may be run.
        outputs: what is written of each image; by default class maps and a figure.
        on_written: called with the files of each image when they are written.

    Returns:
        The files of each image.

    Raises:
        RecipeError: there is no such run or checkpoint, or an output would replace an image or
            another output.
        DataError: images cannot be read, or need more memory than there is; all others are
            predicted before it is raised.
        WriteError: an output cannot be written.
    """
    out, outputs = Path(out), outputs or Outputs()
    files, problems = find_images(images, excluded=out)
    predictor = load(run, checkpoint, device, tta, run_plugins)
    planned = plan_outputs(files, out, predictor.hierarchy.num_levels, outputs)
    write_class_names(out, predictor.hierarchy)
    written: list[ImageOutputs] = []
    try:
        predicted = _predict_all(predictor, planned, outputs.scores)
        done = prefetch(_write, predicted, _THREADS + 1, _THREADS)
        for one, outcome in zip(planned, progress(done, "predicting", len(planned)), strict=True):
            if isinstance(outcome, _Problem):
                problems.append(outcome.message)
                continue
            written.append(one)
            on_written(one)
    finally:
        write_json(out / INDEX, [one.to_json(out) for one in written])
    if problems:
        total = len(written) + len(problems)
        what = f"of {total} images cannot be predicted"
        raise DataError(first_few(problems, what, shown=100))
    return written


class _Problem(NamedTuple):
    """Why there are no outputs of an image."""

    message: str


def _predict_all(
    predictor: Predictor, planned: Sequence[ImageOutputs], scores: bool
) -> Iterator[tuple[ImageOutputs, Segmentation | _Problem | None]]:
    """Predict images in order. Of large ones there is no result: their outputs are written."""
    classes = sum(predictor.hierarchy.num_classes) if scores else 0
    pixel = 6 + predictor.hierarchy.num_levels + 4 * classes  # bytes of an image and its result

    def prepare(one: ImageOutputs) -> Prepared | _Problem | None:
        if count_pixels(one.image) * pixel > _LARGE:
            return None
        return _attempt(one.image, partial(predictor.prepare, one.image))

    ahead = prefetch(prepare, planned, _THREADS + 1, _THREADS)
    for one, prepared in zip(planned, ahead, strict=True):
        if prepared is None:
            yield one, _attempt(one.image, partial(_predict_large, predictor, one, scores))
        elif isinstance(prepared, _Problem):
            yield one, prepared
        else:
            yield one, _attempt(one.image, partial(predictor.predict, prepared, scores))


def _predict_large(predictor: Predictor, one: ImageOutputs, scores: bool) -> None:
    """Read, predict and write an image of which no more than one shall be in memory."""
    write_outputs(one, predictor.predict(one.image, scores))


def _write(predicted: tuple[ImageOutputs, Segmentation | _Problem | None]) -> _Problem | None:
    one, result = predicted
    if isinstance(result, Segmentation):
        return _attempt(one.image, partial(write_outputs, one, result))
    return result


def _attempt(image: Path, step: Callable[[], Result]) -> Result | _Problem:
    """The result of a step; or what keeps an image from being predicted.

    Any other error is raised.
    """
    try:
        return step()
    except DataError as error:
        return _Problem(str(error))
    except WriteError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno != errno.ENAMETOOLONG:
            raise
        return _Problem(f"{error}; shorten the name of {image}")
    except Exception as error:
        memory = exhausted_memory(error)
        if memory is None:
            raise
        return _Problem(_needs_memory(image, memory))


def _needs_memory(image: Path, memory: str) -> str:
    with Image.open(image) as opened:  # reads the size, not the pixels
        size = f"{opened.width} x {opened.height}"
    other = ", or predict it with --device cpu" if memory == "GPU" else ""
    return f"{image}: {size} pixels need more {memory} memory than there is; reduce it{other}"
