"""A recipe with every section and every argument filled in, and how it is printed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hieraseg.errors import RecipeError
from hieraseg.recipe.reading import COMMAND_LINE, inline
from hieraseg.recipe.spec import ComponentSpec
from hieraseg.recipe.values import plain
from hieraseg.registry.files import PluginFile
from hieraseg.settings import Evaluation, Logging, Training


@dataclass(frozen=True)
class Recipe:
    """What to do, complete. Two recipes are equal if they say the same, wherever they stand.

    Attributes:
        path: of the file it was read from.
        plugins: its own plugin files, and those of the plugin folders that it uses.
        components: by section.
        augmentation: arguments of `hieraseg.data.augmentation.Augmentation`.
        training: how long, how fast and where to train.
        evaluation: the protocol of the scores.
        logging: what a run leaves behind.
        origin: of each dotted key, as `file:line`, `command line` or `default`.
    """

    path: Path = field(compare=False)
    plugins: tuple[PluginFile, ...] = field(compare=False)
    components: dict[str, ComponentSpec]
    augmentation: dict[str, Any]
    training: Training
    evaluation: Evaluation
    logging: Logging
    origin: Mapping[str, str] = field(compare=False, repr=False)

    def __getitem__(self, section: str) -> ComponentSpec:
        """The component that a section names."""
        return self.components[section]

    def with_seed(self, seed: int) -> "Recipe":
        """The same recipe for another seed.

        Raises:
            RecipeError: the seed is none.
        """
        try:
            training = replace(self.training, seed=seed)
        except ValueError as error:
            raise RecipeError(f"{COMMAND_LINE}: training.seed: {error}") from error
        origin = {**self.origin, "training.seed": str(COMMAND_LINE)}
        return replace(self, training=training, origin=origin)

    def to_dict(self, plugins: Sequence[str] | None = None) -> dict[str, Any]:
        """Sections with their keys, all values plain as in YAML or JSON.

        Args:
            plugins: paths of the plugin files; where they were read from if None.
        """
        if plugins is None:
            plugins = [str(file.path) for file in self.plugins]
        sections: dict[str, Any] = {"plugins": list(plugins)} if plugins else {}
        sections |= self.components
        sections["augmentation"] = self.augmentation
        sections["training"] = asdict(self.training)
        sections["evaluation"] = asdict(self.evaluation)
        sections["logging"] = asdict(self.logging)
        return {section: plain(settings) for section, settings in sections.items()}

    def to_yaml(self, origins: bool = False, plugins: Sequence[str] | None = None) -> str:
        """The recipe as a YAML file that needs no other file but its plugin files.

        Args:
            origins: follow each value by a comment that says where it comes from.
            plugins: as in `to_dict`.
        """
        return "\n".join(self._lines(origins, plugins)) + "\n"

    def _lines(self, origins: bool, plugins: Sequence[str] | None) -> Iterator[str]:
        for section, settings in self.to_dict(plugins).items():
            if section == "plugins":
                yield f"plugins: {inline(settings)}"
                continue
            yield f"{section}:"
            for key, value in settings.items():
                comment = f"  # {self.origin[f'{section}.{key}']}" if origins else ""
                if isinstance(value, list) and any(isinstance(item, dict) for item in value):
                    # Sections of components are long: one on each line.
                    yield f"  {key}:{comment}"
                    yield from (f"    - {inline(item)}" for item in value)
                else:
                    yield f"  {key}: {inline(value)}{comment}"
