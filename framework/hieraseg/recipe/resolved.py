"""A resolved recipe: every section and every argument filled in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.errors import RecipeError
from hieraseg.files.strict_yaml import inline
from hieraseg.recipe.keywords import key_of
from hieraseg.recipe.reading import COMMAND_LINE, Place
from hieraseg.recipe.spec import ComponentSpec, components_in
from hieraseg.recipe.values import plain
from hieraseg.registry.files import PluginFile
from hieraseg.registry.sections import SECTIONS
from hieraseg.types import ArgumentError

if TYPE_CHECKING:  # the settings import torch, which commands that only list do not wait for
    from hieraseg.settings import (
        Augmentation,
        Auxiliary,
        Checkpoints,
        Evaluation,
        Init,
        Input,
        Logging,
        Training,
        Validation,
    )


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe. Recipes with the same content are equal, wherever they were read.

    Attributes:
        path: file it was read from.
        plugins: its own plugin files, and those of the plugin folders that it uses.
        components: by section, a component, or a list of them for kinds of which there are many.
        input: what the model sees of an image.
        augmentation: random changes of training images; its transforms are specs.
        auxiliary: a second head, which only training has.
        init: the weights that training starts from.
        training: how long, how fast and where to train.
        validation: when the split `val` is scored, and what follows.
        evaluation: protocol of the scores.
        checkpoints: when the state of training is saved.
        logging: what a run writes.
        origin: place of each value by dotted key: `file:line`, `command line` or `default`.
    """

    path: Path = field(compare=False)
    plugins: tuple[PluginFile, ...] = field(compare=False)
    components: dict[str, Any]
    input: "Input"
    augmentation: "Augmentation"
    auxiliary: "Auxiliary"
    init: "Init"
    training: "Training"
    validation: "Validation"
    evaluation: "Evaluation"
    checkpoints: "Checkpoints"
    logging: "Logging"
    origin: Mapping[str, str] = field(compare=False, repr=False)

    def __getitem__(self, section: str) -> ComponentSpec:
        """The component of a section whose kind has one."""
        component = self.components[section]
        assert isinstance(component, ComponentSpec), f"{section}: a list; use `listed`"
        return component

    def listed(self, section: str) -> list[ComponentSpec]:
        """The components of a section: any number of them, none if it is missing."""
        components = self.components.get(section, [])
        return components if isinstance(components, list) else [components]

    def specs(self) -> Iterator[ComponentSpec]:
        """All components that the recipe names, nested ones included."""
        yield from components_in([*self.components.values(), *self.augmentation.transforms])

    def with_seed(self, seed: int, place: Place = COMMAND_LINE) -> "Recipe":
        """The same recipe with another seed.

        Args:
            seed: the seed.
            place: where it is written.

        Raises:
            RecipeError: the seed is out of range.
        """
        try:
            training = replace(self.training, seed=seed)
        except ArgumentError as error:
            problem = f"training.{error.argument}: {error.problem}"
            raise RecipeError(f"{place}: {problem}") from error
        origin = {**self.origin, "training.seed": str(place)}
        return replace(self, training=training, origin=origin)

    def to_dict(self, plugins: Sequence[str] | None = None) -> dict[str, Any]:
        """The sections as mappings and lists of plain values, as YAML or JSON has them.

        Args:
            plugins: paths of the plugin files; those they were read from if None.
        """
        if plugins is None:
            plugins = [str(file.path) for file in self.plugins]
        sections: dict[str, Any] = {"plugins": list(plugins)} if plugins else {}
        sections |= self.components
        for section in SECTIONS:
            settings = getattr(self, section)
            sections[section] = {
                key_of(one.name): getattr(settings, one.name) for one in fields(settings)
            }
        return {section: plain(settings) for section, settings in sections.items()}

    def to_yaml(self, origins: bool = False, plugins: Sequence[str] | None = None) -> str:
        """The recipe as YAML that depends on no other file but its plugin files.

        Args:
            origins: append the place of each value as a comment.
            plugins: as in `to_dict`.
        """
        comment = (lambda key: f"  # {self.origin[key]}") if origins else None
        return as_yaml(self.to_dict(plugins), comment)


def as_yaml(sections: Mapping[str, Any], comment: Callable[[str], str] | None = None) -> str:
    """The sections of a recipe as YAML.

    Args:
        sections: as `Recipe.to_dict` gives them.
        comment: what follows the value of a dotted key.
    """
    return "\n".join(_lines(sections, comment or (lambda _: ""))) + "\n"


def _lines(sections: Mapping[str, Any], comment: Callable[[str], str]) -> Iterator[str]:
    for section, settings in sections.items():
        if section == "plugins" or settings == []:
            yield f"{section}: {inline(settings)}"
            continue
        yield f"{section}:"
        if isinstance(settings, list):
            for index, item in enumerate(settings):
                yield f"  - {inline(item)}{comment(f'{section}[{index}].name')}"
            continue
        for key, value in settings.items():
            if isinstance(value, list) and any(isinstance(item, dict) for item in value):
                # Nested components are long: one on each line.
                yield f"  {key}:{comment(f'{section}.{key}')}"
                yield from (f"    - {inline(item)}" for item in value)
            else:
                yield f"  {key}: {inline(value)}{comment(f'{section}.{key}')}"
