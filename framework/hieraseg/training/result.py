"""The result of a run: scores of its best weights, and what training took."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hieraseg.devices import precision_of
from hieraseg.metrics import Counts, summarize
from hieraseg.metrics.protocol import protocol
from hieraseg.training.cost import flops_per_image, peak_memory
from hieraseg.training.monitor import monitored
from hieraseg.training.setup import Parts
from hieraseg.training.state import State


def scores_of_val(parts: Parts, state: State, counts: Counts) -> dict[str, Any]:
    """Scores of the split `val` with their protocol.

    Args:
        parts: the parts of the run.
        state: state at the end of the run.
        counts: counts with the best weights.
    """
    recipe, best = parts.recipe, state.best_step
    said = protocol(
        parts.stores["val"],
        recipe.input,
        parts.hierarchy,
        recipe.evaluation,
        precision_of(parts.fabric),
        "best",
        state.plan.epoch(best),
        best,
    )
    return {**summarize(counts, parts.hierarchy), **said}


def cost_of(
    parts: Parts, state: State, scores: Mapping[str, Any], speeds: Sequence[float]
) -> dict[str, Any]:
    """What training took, and how the best weights were chosen (see `records.Cost`).

    Args:
        parts: the parts of the run.
        state: its state at the end.
        scores: scores of the split `val`.
        speeds: images per second up to each validation.
    """
    device = parts.fabric.device
    on_cuda = device.type == "cuda"
    # The first one has the compiling, and filling of caches, in it.
    speed = statistics.median(speeds[1:] or speeds) if speeds else None
    memory = torch.cuda.max_memory_allocated(device) if on_cuda else peak_memory(device)
    found = monitored({"loss": None, **scores}, parts.recipe.validation.monitor, parts.hierarchy)
    return {
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "flops": flops_per_image(state.model, parts.recipe.input.size),
        "epochs": state.epoch,
        "steps": state.step,
        "images_per_second": speed,
        "peak_memory_bytes": memory,
        "device": torch.cuda.get_device_name(device) if on_cuda else "cpu",
        "precision": precision_of(parts.fabric),
        "processes": parts.fabric.world_size,
        "best_level": found.level,
        "monitor": found.name,
        "validations": state.validations,
        "stopped_early": state.stops_early,
        "seconds": state.seconds,
    }
