"""What of a training step is compiled, and what is said where that fails."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from hieraseg.console import log
from hieraseg.errors import RecipeError
from hieraseg.settings import Training

Compiled = Literal["off", "model", "step"]


def what_to_compile(settings: Training, problems: Sequence[str]) -> Compiled:
    """What `training.compile` asks for; the model alone where the rest of a step has problems.

    Args:
        settings: the settings of training.
        problems: what keeps the step from being compiled (see `setup.Parts`).
    """
    compiled: Compiled = settings.compile
    if compiled == "step" and problems:
        log(f"training.compile: only the model is compiled: {problems[0]}")
        compiled = "model"
    if compiled != "off":
        what = "whole step" if compiled == "step" else "model"
        log(f"the first step compiles the {what}, which can take minutes")
        # It warns where a compiler for CUDA is installed, but no GPU, which is no problem here.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return compiled


@contextmanager
def compile_errors(compiled: Compiled) -> Iterator[None]:
    """Raise a sentence for what `torch.compile` raises, in the first steps.

    Raises:
        RecipeError: a step cannot be compiled.
    """
    if compiled == "off":
        yield
        return
    # Not at the top, since it takes seconds to import.
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = next(filter(None, str(error).splitlines()), type(error).__name__)
        raise RecipeError(
            f"training.compile: {compiled}: torch.compile fails ({reason.strip()}); set it to off, "
            "or install what is missing (on a CPU it needs a C++ compiler)"
        ) from error
