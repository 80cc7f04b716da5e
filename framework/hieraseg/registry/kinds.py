"""The table of component kinds: all that the framework knows of each kind is written here.

A new kind is one more entry (see `add_kind`). Listing, validating, showing, scaffolding and
checking its components all read this table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hieraseg.errors import RecipeError, did_you_mean

TEMPLATES = Path(__file__).parents[1] / "scaffold"


@dataclass(frozen=True)
class Kind:
    """A kind of component. References are `module:attribute`, so that nothing is imported early.

    Args:
        name: plural name, as in `losses`; its entry point group is `hieraseg_<name>`.
        section: recipe section that names its components, as in `loss`.
        contract: reference of the class or protocol that its components implement.
        suite: reference of the contract test suite in `hieraseg.testing`.
        template: file that `hieraseg new` fills in.
        supplied: arguments that the runner passes to a component whose signature has them; a
            recipe cannot set them.
        many: whether the section is a list of components instead of one.
        singular: what one of them is called; empty if as the section.
        required: whether a recipe must have the section.
        training_only: whether only training uses its components, so that what is wrong with them
            keeps no run from being evaluated.
        default: names of the components of a recipe without the section, for kinds of many.
        nestable: whether arguments of other components can be annotated with the contract, and
            then be set to such a component, or a list of them, in a recipe.
        replaces: sections that a recipe leaves out if it has the section of this kind.
        within: for a kind without a section of its own, the section whose key `name` lists its
            components, as in `augmentation`. `section` is then only what one of them is called.
        fits: reference of the function that tells `hieraseg list` what a component fits; empty if
            its components fit all others.
    """

    name: str
    section: str
    contract: str
    suite: str
    template: Path
    supplied: frozenset[str] = frozenset()
    many: bool = False
    singular: str = ""
    required: bool = True
    training_only: bool = False
    default: tuple[str, ...] = ()
    nestable: bool = False
    replaces: tuple[str, ...] = ()
    within: str = ""
    fits: str = ""

    def __post_init__(self) -> None:
        if not self.singular:
            object.__setattr__(self, "singular", self.section)

    @property
    def group(self) -> str:
        """Entry point group of its components."""
        return f"hieraseg_{self.name}"

    def load_contract(self) -> Any:
        """Import the contract."""
        return _load(self.contract)

    def load_suite(self) -> Any:
        """Import the contract test suite."""
        return _load(self.suite)

    def load_fits(self) -> Any:
        """Import the function that says what a component fits; None if there is none."""
        return _load(self.fits) if self.fits else None


def _load(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)


_KINDS: dict[str, Kind] = {}


def add_kind(kind: Kind) -> None:
    """Add a kind to the table.

    Raises:
        ValueError: another kind has the same name or section.
    """
    for other in _KINDS.values():
        if set(_words(kind)) & set(_words(other)):
            raise ValueError(f"kind {kind.name!r}: the kind {other.name!r} has this name already")
    _KINDS[kind.name] = kind


def all_kinds() -> Iterator[Kind]:
    """All kinds, in the order in which a recipe prints their sections."""
    return iter(_KINDS.values())


def find_kind(word: str) -> Kind:
    """The kind with this plural name, singular name or section.

    Raises:
        RecipeError: there is no such kind.
    """
    known = {word: kind for kind in all_kinds() for word in _words(kind)}
    if word not in known:
        raise RecipeError(f"unknown kind of component {word!r}, {did_you_mean(word, known)}")
    return known[word]


def _words(kind: Kind) -> tuple[str, ...]:
    """The words that mean a kind."""
    return kind.singular, kind.section, kind.name


for _kind in (
    Kind(
        name="hierarchies",
        section="hierarchy",
        contract="hieraseg.hierarchy:Hierarchy",
        suite="hieraseg.testing:HierarchyContract",
        template=TEMPLATES / "hierarchy.template",
    ),
    Kind(
        name="datasets",
        section="data",
        contract="hieraseg.contracts:Dataset",
        suite="hieraseg.testing:DatasetContract",
        template=TEMPLATES / "data.template",
        supplied=frozenset({"hierarchy"}),
        nestable=True,
    ),
    Kind(
        name="transforms",
        section="transform",
        contract="hieraseg.contracts:Transform",
        suite="hieraseg.testing:TransformContract",
        template=TEMPLATES / "transform.template",
        supplied=frozenset({"hierarchy"}),
        nestable=True,
        within="augmentation",
    ),
    Kind(
        name="backbones",
        section="backbone",
        contract="hieraseg.contracts:Backbone",
        suite="hieraseg.testing:BackboneContract",
        template=TEMPLATES / "backbone.template",
        nestable=True,
        fits="hieraseg.cli.fits:of_backbone",
    ),
    Kind(
        name="decoders",
        section="decoder",
        contract="hieraseg.contracts:Decoder",
        suite="hieraseg.testing:DecoderContract",
        template=TEMPLATES / "decoder.template",
        fits="hieraseg.cli.fits:of_decoder",
        supplied=frozenset(
            {"channels", "strides", "num_classes", "hierarchy", "embedding_channels"}
        ),
    ),
    Kind(
        name="models",
        section="model",
        contract="hieraseg.contracts:Model",
        suite="hieraseg.testing:ModelContract",
        template=TEMPLATES / "model.template",
        fits="hieraseg.cli.fits:of_model",
        supplied=frozenset({"num_classes", "hierarchy", "embedding_channels"}),
        required=False,
        replaces=("backbone", "decoder"),
    ),
    Kind(
        name="losses",
        section="loss",
        contract="hieraseg.contracts:Loss",
        suite="hieraseg.testing:LossContract",
        template=TEMPLATES / "loss.template",
        fits="hieraseg.cli.fits:of_loss",
        supplied=frozenset({"hierarchy", "class_pixels"}),
        training_only=True,
        nestable=True,
    ),
    Kind(
        name="inference",
        section="inference",
        contract="hieraseg.contracts:InferenceRule",
        suite="hieraseg.testing:InferenceContract",
        template=TEMPLATES / "inference.template",
        supplied=frozenset({"hierarchy"}),
    ),
    Kind(
        name="optimizers",
        section="optimizer",
        contract="hieraseg.contracts:OptimizerFactory",
        suite="hieraseg.testing:OptimizerContract",
        template=TEMPLATES / "optimizer.template",
        supplied=frozenset({"parameters", "model"}),
        training_only=True,
    ),
    Kind(
        name="schedules",
        section="schedule",
        contract="hieraseg.contracts:ScheduleFactory",
        suite="hieraseg.testing:ScheduleContract",
        template=TEMPLATES / "schedule.template",
        supplied=frozenset({"optimizer", "total_steps", "steps_per_epoch"}),
        training_only=True,
    ),
    Kind(
        name="trackers",
        section="trackers",
        contract="hieraseg.contracts:Tracker",
        suite="hieraseg.testing:TrackerContract",
        template=TEMPLATES / "tracker.template",
        supplied=frozenset({"folder", "after_step"}),
        training_only=True,
        many=True,
        singular="tracker",
        required=False,
        default=("tensorboard",),
    ),
):
    add_kind(_kind)
