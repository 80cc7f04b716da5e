"""A kind of component that the framework does not have, to be added to the table of kinds."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from hieraseg.registry import Kind
from hieraseg.testing import ComponentContract

TEMPLATE = '''\
"""The postprocessing $name."""

${import_registry}from torch import Tensor
from hieraseg.types import PositiveInt, check_arguments


${register}@check_arguments
class $Class:
    """Keep the classes as they are.

    Args:
        times: how often.
    """

    def __init__(self, times: PositiveInt = 1) -> None:
        self.times = times

    def __call__(self, classes: Tensor) -> Tensor:
        return classes
'''


@runtime_checkable
class Postprocessor(Protocol):
    """Classes -> classes."""

    def __call__(self, classes: Tensor) -> Tensor: ...


class PostprocessorContract(ComponentContract):
    """What every postprocessor has to offer."""

    def test_it_is_callable(self) -> None:
        """It can be called."""
        assert callable(self.build())


def postprocessors(folder: Path) -> Kind:
    """The entry of the kind; its template is written to a folder."""
    template = folder / "postprocessing.template"
    template.write_text(TEMPLATE)
    return Kind(
        name="postprocessors",
        section="postprocessing",
        contract=f"{__name__}:Postprocessor",
        suite=f"{__name__}:PostprocessorContract",
        template=template,
        supplied=frozenset({"hierarchy"}),
        many=True,
        required=False,
    )
