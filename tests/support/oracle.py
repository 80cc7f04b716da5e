"""Runs of a model whose prediction is known: any score below 1.0 is due to the framework.

The components are in a plugin file of their own. The fixture `oracle_run` is such a run.
"""

from pathlib import Path
from typing import Any

from hieraseg.registry.files import PluginFile

PLUGIN = Path(__file__).with_name("oracle_plugin.py")
RECIPE = f"""\
plugins: [{PLUGIN}]
hierarchy: pascal_part
data: rectangles
input: {{size: [32, 32]}}
backbone: oracle
decoder: oracle
loss: marginal_ce
inference: bottom_up
optimizer: {{name: sgd, lr: 1e-9, momentum: 0}}
schedule: cosine
augmentation: {{flip: 0}}
training: {{epochs: 1, batch_size: 2, max_steps: 1, device: cpu}}
trackers: []
"""


def write_oracle_recipe(folder: Path, changes: str = "") -> str:
    """Write `oracle.yaml` into a folder, and return its path.

    Args:
        folder: the folder.
        changes: sections that are merged over those of `RECIPE`, as YAML.
    """
    (folder / "oracle_base.yaml").write_text(RECIPE)
    recipe = folder / "oracle.yaml"
    recipe.write_text(f"base: oracle_base.yaml\n{changes}")
    return str(recipe)


def oracle_component(kind: str, name: str) -> Any:
    """A component of the plugin file, as in `("datasets", "rectangles")`."""
    return PluginFile.read(PLUGIN).components()[kind, name]
