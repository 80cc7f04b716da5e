"""Options of the command line that choose a launcher."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hieraseg.errors import RecipeError, did_you_mean
from hieraseg.files import strict_yaml

if TYPE_CHECKING:  # imports recipes, which `hieraseg --help` does not wait for
    from hieraseg.sweeps.launchers.waiting import Engine, Launcher

_KEYS = {
    "slurm": (
        *("time", "partition", "cpus_per_task", "gpus_per_node", "mem", "mem_per_gpu"),
        *("mem_per_cpu", "account", "qos", "constraint", "nodelist", "exclude", "gres"),
        *("exclusive", "comment", "array_parallelism", "setup", "additional_parameters", "cluster"),
    ),
    "ray": ("address", "num_cpus", "num_gpus", "memory", "accelerator_type"),
}
_PACKAGES = {"slurm": "submitit", "ray": "ray"}


def add_options(parser: ArgumentParser) -> None:
    """Add `--launcher`, and the settings of each launcher."""
    parser.add_argument(
        "--launcher",
        choices=tuple(_KEYS),
        help="do the jobs on a cluster, and wait for them (see docs/clusters.md)",
    )
    for name, keys in _KEYS.items():
        parser.add_argument(
            f"--{name}",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help=f"setting of the launcher {name}; can be repeated; one of {', '.join(keys)}",
        )


def from_arguments(arguments: Namespace) -> "Launcher | None":
    """The launcher that the command line chooses; None if the jobs are done here.

    Raises:
        RecipeError: a setting is wrong, or the launcher cannot be used here.
    """
    chosen: str | None = arguments.launcher
    settings = {name: _settings(name, getattr(arguments, name)) for name in _KEYS}
    unused = [name for name in _KEYS if settings[name] and name != chosen]
    if unused:
        raise RecipeError(f"--{unused[0]}: needs --launcher {unused[0]}; add it")
    if chosen is None:
        return None
    if find_spec(_PACKAGES[chosen]) is None:
        raise RecipeError(
            f"--launcher {chosen}: needs the package {_PACKAGES[chosen]}; "
            f"`pip install 'hieraseg[{chosen}]'`"
        )
    from hieraseg.sweeps.launchers.waiting import Launcher

    return Launcher(_engine(chosen, settings[chosen]), arguments.again)


def _engine(name: str, settings: Mapping[str, Any]) -> "Engine":
    from hieraseg.sweeps.launchers.ray_cluster import Ray
    from hieraseg.sweeps.launchers.slurm import Slurm

    return Slurm(settings) if name == "slurm" else Ray(settings)


def _settings(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The settings of a launcher, whose values are YAML."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if key not in _KEYS[name]:
            hint = did_you_mean(key, _KEYS[name])
            raise RecipeError(f"--{name}: unknown setting {key!r}, {hint}")
        if not equals or key in settings:
            problem = "is given twice" if equals else "has no value"
            raise RecipeError(f"--{name} {key}: {problem}; write it once, as {key}=VALUE")
        try:
            settings[key] = strict_yaml.plain(strict_yaml.compose(text))
        except strict_yaml.InvalidYAMLError as error:
            raise RecipeError(f"--{name} {key}: is no YAML value ({error}); fix it") from error
    return settings
