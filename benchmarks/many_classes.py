"""Time and peak memory of the losses for 10 to 10,000 classes, forward and backward.

Trees have three levels. Memory is what is alive at the peak beyond the logits themselves, as a
multiple of them; the gradient of the logits is 1 of it.
"""

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from common import options
from memory import peak_bytes
from rounds import median_seconds
from torch import Tensor

from hieraseg import Hierarchy, Prediction, registry
from hieraseg.contracts import has_argument

CASES: dict[str, tuple[str, dict[str, str]]] = {
    "tree_min": ("tree_min", {}),
    "marginal_ce": ("marginal_ce", {}),
    "hssn": ("hssn", {}),
    "hssn cityscapes": ("hssn", {"published": "cityscapes"}),
}


class Result(NamedTuple):
    """One line of the table."""

    loss: str
    mode: str
    classes: int
    seconds: float
    memory: float


def tree(leaves: int) -> Hierarchy:
    """About the cube root of the number of leaves at level 1, its square at level 2."""
    roots, inner = round(leaves ** (1 / 3)), round(leaves ** (2 / 3))
    branches: dict[str, dict[str, list[str]]] = {}
    for leaf in range(leaves):
        parent = leaf * inner // leaves
        root = parent * roots // inner
        branches.setdefault(f"root{root}", {}).setdefault(f"parent{parent}", []).append(str(leaf))
    return Hierarchy.from_tree(branches)


def training_step(
    case: str, mode: str, leaves: int, args: argparse.Namespace
) -> tuple[Callable[[], object], int]:
    """Forward and backward of a loss, and the size of its logits in bytes."""
    hierarchy, (name, arguments) = tree(leaves), CASES[case]
    loss = registry.losses.get(name)(hierarchy=hierarchy, **arguments).to(args.device)
    generator = torch.Generator().manual_seed(0)

    def random(channels: int, side: int) -> Tensor:
        values = torch.randn(args.batch_size, channels, side, side, generator=generator)
        return values.to(args.device).requires_grad_()

    used = hierarchy.num_classes if loss.levels == "all" else hierarchy.num_classes[-1:]
    logits = [random(channels, args.size) for channels in used]
    channels = loss.embedding_channels
    embedding = random(channels, args.size // 8) if channels else None
    shape = (args.batch_size, args.size, args.size)
    labels = torch.randint(leaves, shape, generator=generator)
    targets = hierarchy.encode(labels.to(args.device))
    progress = torch.tensor(0.5, device=args.device)

    def value() -> Tensor:
        timed = {"progress": progress} if has_argument(loss.forward, "progress") else {}
        terms = loss(Prediction(tuple(logits), embedding), targets, **timed)
        return torch.stack([*terms.values()]).sum()

    if mode == "compiled":
        torch.compiler.reset()
        value = torch.compile(value, fullgraph=True, dynamic=False)
    inputs = [*logits, *([] if embedding is None else [embedding])]
    size = sum(level.nbytes for level in logits)
    return lambda: torch.autograd.grad(value(), inputs), size


def measure(case: str, mode: str, leaves: int, args: argparse.Namespace) -> Result:
    """Time and memory of one loss."""
    step, size = training_step(case, mode, leaves, args)

    def finished() -> None:
        step()
        if args.device.type == "cuda":
            torch.cuda.synchronize()

    seconds = median_seconds({case: finished}, args.rounds, args.cpu)[case]
    return Result(case, mode, leaves, seconds, peak_bytes(step, args.device) / size)


def plot(results: list[Result], path: Path) -> None:
    """Draw time and memory over the number of classes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    times, memories = figure.subplots(1, 2)
    for case in dict.fromkeys((one.loss, one.mode) for one in results):
        lines = [one for one in results if (one.loss, one.mode) == case]
        classes, style = [one.classes for one in lines], "o-" if case[1] == "eager" else "s--"
        times.plot(classes, [one.seconds for one in lines], style, label=" ".join(case))
        memories.plot(classes, [one.memory for one in lines], style, label=" ".join(case))
    times.set(xlabel="classes", ylabel="seconds", xscale="log", yscale="log")
    memories.set(xlabel="classes", ylabel="peak memory / logits", xscale="log", ylim=0)
    times.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--losses", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--classes", nargs="+", type=int, default=[10, 100, 1000, 10000])
    parser.add_argument("--modes", nargs="+", choices=["eager", "compiled"], default=["eager"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--plot", type=Path, help="write a figure to this file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = []
    print(f"{'loss':16} {'mode':9} {'classes':>8} {'ms':>10} {'memory / logits':>16}")
    for case, mode, leaves in product(args.losses, args.modes, args.classes):
        one = measure(case, mode, leaves, args)
        results.append(one)
        time_and_memory = f"{one.seconds * 1e3:10.1f} {one.memory:16.2f}"
        print(f"{case:16} {mode:9} {leaves:8} {time_and_memory}", flush=True)
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
