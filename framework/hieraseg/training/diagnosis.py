"""What a step that was not finite leaves in the run folder, and what is said of it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Integer
from safetensors.torch import save_file
from torch import Tensor

from hieraseg.contracts import has_argument
from hieraseg.data.batches.batch import Step
from hieraseg.data.batches.device import on_device
from hieraseg.errors import DivergedError, WriteError, exhausted_memory
from hieraseg.files.paths import quoted
from hieraseg.files.writing import to_json, write_folder
from hieraseg.processes import num_processes, on_all_ranks, on_its_own
from hieraseg.runs.folder import RunFolder
from hieraseg.settings import Training
from hieraseg.training.finite import BadStep, BadStepError, what_is_wrong
from hieraseg.training.forward import loss_terms
from hieraseg.training.order import run_steps
from hieraseg.training.setup import Parts
from hieraseg.training.state import State

WEIGHTS = "model.safetensors"
BATCH = "batch.safetensors"
STEP = "step.json"

_SHOWN = 4  # names in a sentence


class _Batch(NamedTuple):
    """A batch as the model saw it, on the training device."""

    ids: list[str]
    images: Float[Tensor, "B 3 H W"]
    masks: Integer[Tensor, "B H W"]


def diagnose(parts: Parts, state: State, folder: RunFolder, bad: BadStep) -> DivergedError:
    """The error of a step that was not finite; the main process saves what repeats it.

    That is `nonfinite/` in the run folder: the weights before the step, the augmented batch of all
    processes, and the step's number, terms and images.

    Args:
        parts: the parts of the run.
        state: its state, with the weights before the step.
        folder: the run folder.
        bad: the step.
    """
    is_main = parts.fabric.is_global_zero
    found = on_all_ranks(lambda: _diagnose(parts, state, folder, bad) if is_main else "")
    return DivergedError(found) if found else BadStepError(bad)


def _diagnose(parts: Parts, state: State, folder: RunFolder, bad: BadStep) -> str:
    (step,) = run_steps(parts, [bad.step], whole=True)
    batch = _augmented(parts, step)
    weights = {name: value.detach().cpu() for name, value in state.model.state_dict().items()}
    record = {
        "epoch": state.plan.epoch(bad.step),
        "step": bad.step,
        "progress": _progress(parts, bad),
        "terms": bad.terms,
        "images": batch.ids,
    }
    try:
        _save(folder.nonfinite, weights, batch, record)
        saved = f"{folder.nonfinite} has the batch and the weights before it"
    except WriteError as error:
        saved = f"the batch is not saved ({error})"
    cause, fix = _cause_and_fix(parts, state, folder, bad, batch)
    return (
        f"training diverged in epoch {record['epoch']}, step {bad.step}, with the images "
        f"{_listed(batch.ids)}: {cause} not finite; {fix}; {saved}"
    )


def _augmented(parts: Parts, step: Step) -> _Batch:
    device = parts.fabric.device
    (batch,) = on_device(parts.view.load([step]), device)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        images, masks = parts.view.augment(batch)
    return _Batch([parts.stores["train"].ids[row] for row in step.rows.tolist()], images, masks)


def _save(
    folder: Path, weights: Mapping[str, Tensor], batch: _Batch, record: Mapping[str, Any]
) -> None:
    tensors = {"images": batch.images, "masks": batch.masks}

    def write(unfinished: Path) -> None:
        # Copies, because safetensors refuses tensors that share memory, such as tied weights.
        for file, values in ((WEIGHTS, weights), (BATCH, tensors)):
            copies = {key: one.cpu().contiguous().clone() for key, one in values.items()}
            save_file(copies, unfinished / file)
        text = to_json(folder / STEP, record, indent=2)
        (unfinished / STEP).write_text(f"{text}\n", encoding="utf-8")

    write_folder(folder, write)


def _cause_and_fix(
    parts: Parts, state: State, folder: RunFolder, bad: BadStep, batch: _Batch
) -> tuple[str, str]:
    images = _not_finite_images(batch)
    if images:
        what = f"image {images[0]} is" if len(images) == 1 else f"images {_listed(images)} are"
        return f"after augmentation, the {what}", "change augmentation.transforms"
    fix = _fix(parts.recipe.training, folder)
    weights = [] if bad.terms else list(_bad_gradients(parts, state, bad, batch))
    if not weights:
        return what_is_wrong(bad), fix
    # From the loss backwards they follow from each other, so the last one was the first.
    rest = f" and of {len(weights) - 1} more" if len(weights) > 1 else ""
    return f"the gradient of the weights {weights[-1]}{rest} is", fix


def _not_finite_images(batch: _Batch) -> list[str]:
    finite = batch.images.flatten(1).isfinite().all(1).tolist()
    return [id for id, is_finite in zip(batch.ids, finite, strict=True) if not is_finite]


def _progress(parts: Parts, bad: BadStep) -> float:
    """Share of training that was done before the step."""
    return (bad.step - 1) / parts.total_steps


def _bad_gradients(parts: Parts, state: State, bad: BadStep, batch: _Batch) -> Iterator[str]:
    """Names of the weights whose gradient is not finite, if that can be repeated."""
    model, loss = state.model, parts.loss
    is_synced = any(isinstance(one, torch.nn.SyncBatchNorm) for one in model.modules())
    if num_processes() > 1 and is_synced:  # all would have to take part
        return
    model.zero_grad()
    progress = torch.tensor(_progress(parts, bad), device=parts.fabric.device)
    arguments = {"progress": progress} if has_argument(loss.forward, "progress") else {}
    try:
        with parts.fabric.autocast():
            prediction = model(batch.images)
        targets = parts.hierarchy.encode(batch.masks, check=False)
        weight = parts.recipe.auxiliary.weight
        with on_its_own():  # the other processes wait for what this one finds
            terms = loss_terms(loss, prediction, targets, arguments, weight)
        torch.stack(list(terms.values())).sum().backward()
    except RuntimeError as error:
        if exhausted_memory(error) is None:  # the batch may be that of several processes
            raise
        return
    for name, one in model.named_parameters():
        if one.grad is not None and not one.grad.isfinite().all():
            yield name


def _fix(training: Training, folder: RunFolder) -> str:
    ways = ["lower optimizer.lr"]
    if training.clip_norm is None:
        ways.append("set training.clip_norm")
    if training.precision != "32-true":
        ways.append("train in precision 32-true")
    skip = "set training.on_nonfinite to skip"
    if folder.checkpoint("last").is_dir():
        resume = f"hieraseg resume {quoted(folder.path)}"
        skip = f"skip such steps by `{resume} --training.on_nonfinite skip`"
    return f"{', '.join(ways)}, or {skip}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _SHOWN:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{', '.join(names[:_SHOWN])} and {len(names) - _SHOWN} more"
