"""Counting the predictions of a training step against the step itself, and for many classes.

The step is the forward and backward pass of `recipes/pascal_part/lite0_cpu.yaml` on a constant
batch. On a GPU all are captured in CUDA graphs, as training does. *plain*: per level three
`scatter_add_` with a bin per image and class, and tables of the tree for each pixel. *copies*: the
same with copies of each bin (on a GPU only), as it is counted where there are many classes.
*joint*: what a run does. The script exits with an error unless all counts are equal.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from common import lite0, options
from rounds import median_seconds
from torch import Tensor

from hieraseg import Hierarchy, registry
from hieraseg.metrics import counting
from hieraseg.metrics.pixels import count_pixels, pixel_counter
from hieraseg.recipe.build import build

Counts = dict[str, Tensor]


def labels(hierarchy: Hierarchy, args: argparse.Namespace, seed: int) -> Tensor:
    """Classes in regions of 16 x 16 pixels; most of them are the first leaf, as background is."""
    generator = torch.Generator().manual_seed(seed)
    side = args.size // 16
    leaves = torch.randint(len(hierarchy.paths), (args.batch_size, side, side), generator=generator)
    leaves[torch.rand(leaves.shape, generator=generator) < 0.6] = 0
    leaves = leaves.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return hierarchy.paths[leaves].movedim(-1, 1).to(args.device)


def plain(hierarchy: Hierarchy, predicted: Tensor, targets: Tensor) -> Counts:
    """Counts without copies of bins."""
    kept = dict(counting._COPIES)
    counting._COPIES.update(cuda=1)
    try:
        return count_pixels(hierarchy, predicted, targets)
    finally:
        counting._COPIES.update(kept)


def step(args: argparse.Namespace, hierarchy: Hierarchy) -> Callable[[], None]:
    """Forward and backward pass of the recipe's model and loss."""
    recipe, model = lite0(hierarchy)
    model = model.to(args.device).to(memory_format=torch.channels_last).train()
    called = torch.compile(model) if args.compile else model
    loss = build(recipe["loss"], hierarchy=hierarchy).to(args.device)
    images = torch.rand(args.batch_size, 3, args.size, args.size, device=args.device)
    targets = labels(hierarchy, args, 0)

    def run() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        torch.stack(list(loss(called(images), targets).values())).sum().backward()

    return run


def job(function: Callable[[], object], device: str) -> Callable[[], object]:
    """The function; on a GPU captured in a CUDA graph, and waited for."""
    if device != "cuda":
        return function
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()

    def replay() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return replay


def ways(hierarchy: Hierarchy, args: argparse.Namespace) -> dict[str, Callable[[], Counts]]:
    """The ways to count a batch, which are checked against each other."""
    classes = labels(hierarchy, args, 1), labels(hierarchy, args, 0)
    functions = {
        "plain": partial(plain, hierarchy),
        "copies": partial(count_pixels, hierarchy),
        "joint": pixel_counter(hierarchy, torch.device(args.device)),
    }
    found = [function(*classes) for function in functions.values()]
    for one in found[1:]:
        if any(not torch.equal(one[key], value) for key, value in found[0].items()):
            raise SystemExit("the counts differ")
    return {name: partial(function, *classes) for name, function in functions.items()}


def compare_with_step(args: argparse.Namespace) -> None:
    """Print the time of a step, and the share of it that counting takes."""
    hierarchy = registry.hierarchies.get("pascal_part")()
    jobs = {"step": step(args, hierarchy), **ways(hierarchy, args)}
    captured = {name: job(function, args.device) for name, function in jobs.items()}
    seconds = median_seconds(captured, args.rounds, args.cpu)
    for name, value in seconds.items():
        print(f"{name:8} {1e3 * value:9.3f} ms {100 * value / seconds['step']:7.2f} % of a step")


def compare_classes(args: argparse.Namespace) -> None:
    """Print the time of counting for trees of many classes."""
    for number in (10, 100, 1000, 10_000):
        groups = range(max(2, number // 50))
        each = -(-number // len(groups))
        tree = {f"{group}": [f"{group}.{leaf}" for leaf in range(each)] for group in groups}
        hierarchy = Hierarchy.from_tree(tree)
        jobs = {name: job(way, args.device) for name, way in ways(hierarchy, args).items()}
        seconds = median_seconds(jobs, args.rounds, args.cpu)
        times = ", ".join(f"{name} {1e3 * value:.3f} ms" for name, value in seconds.items())
        print(f"{len(hierarchy.paths):6} leaves: {times}")


def main() -> None:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--compile", action="store_true", help="compile the model")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compare_with_step(args)
    compare_classes(args)


if __name__ == "__main__":
    main()
