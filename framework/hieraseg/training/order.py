"""The images of each step of a run, and their random numbers."""

from collections.abc import Iterable, Iterator

from jaxtyping import Int
from torch import Tensor

from hieraseg.data.batches.batch import Step
from hieraseg.data.sampling import generator, steps_per_epoch, training_order
from hieraseg.draws import Draws
from hieraseg.processes import own_share
from hieraseg.training.setup import Parts


def run_steps(parts: Parts, numbers: Iterable[int], whole: bool = False) -> Iterator[Step]:
    """This process's images of some steps of the run, whatever epochs they are in.

    Args:
        parts: the parts of the run.
        numbers: consecutive steps of the run, of which the first is 1.
        whole: whether to take the images of all processes.
    """
    settings, store = parts.recipe.training, parts.stores["train"]
    order = list[Int[Tensor, " batch"]]()
    for step in numbers:
        before, index = divmod(step - 1, steps_per_epoch(len(store), settings.batch_size))
        epoch = before + 1
        if not order or index == 0:
            order = training_order(
                len(store), settings.batch_size, settings.seed, epoch, store.members, store.repeats
            )
        yield run_step(parts, epoch, step, order[index], whole)


def run_step(
    parts: Parts, epoch: int, step: int, rows: Int[Tensor, " batch"], whole: bool = False
) -> Step:
    """This process's images of a step, and their random numbers.

    Args:
        parts: the parts of the run.
        epoch: the epoch.
        step: step of the run, from 1; step 0 draws the order of images.
        rows: images of all processes.
        whole: whether to take all of them.
    """
    fabric = parts.fabric
    rank, processes = (0, 1) if whole else (fabric.global_rank, fabric.world_size)
    random = generator(parts.recipe.training.seed, epoch, step)
    own = own_share(rows, rank, processes)
    return Step(own, Draws(random, len(rows), rank, processes))
