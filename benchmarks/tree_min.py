"""Time forward and backward of the tree-min loss, compared with a literal implementation.

The literal implementation follows the published equations in a loop over classes: sigmoids, minima
over ancestors, maxima over descendants, logarithms.
"""

import torch
from common import options
from rounds import median_seconds
from torch import Tensor

from hieraseg import Hierarchy, Loss, Prediction
from hieraseg_plugins.hierarchies.pascal_part import pascal_part
from hieraseg_plugins.losses.tree_min import TreeMin


def literal(hierarchy: Hierarchy, logits: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Equations 3 to 5 of arXiv:2203.14335, averaged over the pixels and classes of each level.

    Ignored pixels are not supported.
    """
    scores = torch.cat([torch.sigmoid(level) for level in logits], dim=1)
    ancestors = hierarchy.ancestors
    total = scores.new_zeros(())
    for level, classes in enumerate(hierarchy.num_classes):
        for index in range(classes):
            node = hierarchy.offsets[level] + index
            above = ancestors[node].nonzero()[:, 0]
            below = ancestors[:, node].nonzero()[:, 0]
            lowest = scores[:, above].amin(dim=1)
            highest = scores[:, below].amax(dim=1)
            true = (targets[:, level] == index).float()
            cost = -true * torch.log(lowest) - (1 - true) * torch.log(1 - highest)
            total = total + cost.mean() / classes
    return total


def ours(loss: Loss, logits: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Sum of the terms of our loss."""
    return torch.stack([*loss(Prediction(logits), targets).values()]).sum()


def main() -> None:
    parser = options(__doc__, rounds=15)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    hierarchy = pascal_part()
    loss = TreeMin(hierarchy)
    shape = (args.batch_size, args.size, args.size)
    logits = tuple(
        torch.randn(args.batch_size, classes, *shape[1:], requires_grad=True)
        for classes in hierarchy.num_classes
    )
    targets = hierarchy.encode(torch.randint(0, len(hierarchy.labels), shape))
    implementations = {
        "literal": lambda: literal(hierarchy, logits, targets),
        "hieraseg": lambda: ours(loss, logits, targets),
    }

    def gradients(name: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(implementations[name](), logits)

    values = {name: float(form().detach()) for name, form in implementations.items()}
    if abs(values["literal"] - values["hieraseg"]) > 1e-5:
        raise SystemExit(f"the implementations differ: {values}")
    for own, other in zip(gradients("hieraseg"), gradients("literal"), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-9)
    seconds = median_seconds(
        {name: lambda name=name: gradients(name) for name in implementations}, args.rounds, args.cpu
    )
    for name, value in seconds.items():
        speedup = seconds["literal"] / value
        print(f"{name:10} {values[name]:.7f} {value * 1e3:9.1f} ms  {speedup:6.2f}x")


if __name__ == "__main__":
    main()
