"""Valid recipes of every kind, to be damaged, and the files that they name."""

from pathlib import Path

from hieraseg.recipe.shipped import shipped_recipes

RECIPES = Path(__file__).parents[2] / "recipes"
# Not studies, which are many runs, and which `show` shows without their sweep.
SHIPPED = sorted(
    path.relative_to(RECIPES).as_posix()
    for path in shipped_recipes().values()
    if not path.stem.startswith("study")
)

PLUGIN = '''\
"""Arguments of every type that a recipe can give, and components inside components."""
from enum import Enum
from pathlib import Path
from typing import Literal

from hieraseg import Hierarchy, Loss, registry

class Mode(Enum):
    PLAIN = 1
    FOCAL = 2

@registry.losses.register("fuzzed")
class Fuzzed(Loss):
    def __init__(self, hierarchy: Hierarchy, gamma: float, either: int | str = 1,
                 label: str | None = None, by_class: dict[str, float] = {"a": 1.0},
                 mode: Mode = Mode.PLAIN, reduction: Literal["mean", "sum"] = "mean",
                 focal: bool = False, sides: tuple[float, ...] = (1.0,), file: Path | None = None,
                 extra: Loss | None = None, rest: list[Loss] = []) -> None:
        super().__init__()
'''
PLUGIN_DEFAULTS = {
    "either": 1,
    "label": None,
    "by_class": {"a": 1.0},
    "mode": "PLAIN",
    "reduction": "mean",
    "focal": False,
    "sides": [1.0],
    "file": None,
    "extra": None,
    "rest": [],
}
WITH_COMPONENTS = {
    ("sum", "losses"): "loss",
    ("fuzzed", "extra"): "loss",
    ("fuzzed", "rest"): "loss",
    ("coarse_to_fine", "backbone"): "backbone",
    ("", "transforms"): "transform",
}
"""What the arguments that name components name: by component, or "" for the core's sections."""
PATHS = {"root", "path", "weights", "file", "from"}

FILES = {
    "fuzz_plugin.py": PLUGIN,
    "broken_plugin.py": "import nowhere_at_all\n",
    "empty_plugin.py": "x = 1\n",
    "weights.pth": "",
    "circle.yaml": "base: case.yaml\n",
    "empty.yaml": "# nothing\n",
    "tree.yaml": "tree: {body: {arms: [left, right]}, rest: null}\n",
    "rich.yaml": """\
plugins: [fuzz_plugin.py]
hierarchy: {name: file, path: tree.yaml}
data: {name: mannequins, image_size: [64, 96], train_images: 8, val_images: 4, seed: 3}
backbone: {name: resnet50, weights: weights.pth}
decoder: {name: hyperbolic, width: 8, dimensions: 16, curvature: 0.5}
loss:
  name: sum
  losses:
    - name: fuzzed
      gamma: 2
      label: "no"
      by_class: {a: 1, b: 2.5}
      extra: {name: sum, losses: [tree_min, {name: focal, gamma: 1.5}], weights: [1, .5]}
    - lovasz
    - name: logic_rules
      ramp: [0.1, 0.9]
  weights: [1, 0.5, 2e-1]
  ramps: [[0, 0], [0.1, 0.2], [0, 1]]
inference: {name: marginal}
optimizer: {name: sgd, lr: 1e-2, momentum: 0.8, nesterov: true}
schedule: {name: poly, power: 0.9, warmup: 0.1}
input: {size: [64, 96], store: decoded}
augmentation:
  rotate: 15
  crop: 0.5
  crop_scale: [0.5, 1.0]
  transforms: [photometric, {name: blur, sigma: [1, 2.5]}]
training: {epochs: 3, batch_size: 4, precision: bf16-mixed, seed: 11, max_steps: null}
evaluation: {resolution: input, flip: true, scales: [0.5, 1], window: [64, 64]}
trackers: []
logging: {images: 0}
""",
    "child.yaml": """\
base: rich.yaml
loss:
  name: fuzzed
  gamma: "${FUZZ_NUMBER}"
  label: "${FUZZ_TEXT} and ${FUZZ_NUMBER}"
  either: "${FUZZ_NUMBER}"
  mode: "${FUZZ_MISSING:-FOCAL}"
  sides: [1, "${FUZZ_NUMBER}"]
  rest: [bce, {name: tree_min, gamma: "${FUZZ_MISSING:-0.5}"}]
optimizer: {lr: "${FUZZ_MISSING:-3e-4}", momentum: 0}
training: {batch_size: "${FUZZ_NUMBER}"}
evaluation: {window: null}
""",
    "whole.yaml": """\
base: quickstart
model:
  name: coarse_to_fine
  width: 8
  backbone: {name: resnet50, weights: weights.pth}
optimizer: {name: sgd, backbone_lr_multiplier: 0.1}
auxiliary: {weight: 0.2}
""",
    "named.yaml": """\
base: quickstart
plugins: ["${FUZZ_FOLDER}/fuzz_plugin.py"]
loss: {name: sum, losses: [weighted_ce, {name: sum, losses: [{name: fuzzed, gamma: 1}]}]}
schedule: poly
backbone: {variant: 1}
training: {max_steps: 5}
""",
}
SEEDS = [*SHIPPED, "rich.yaml", "child.yaml", "named.yaml", "whole.yaml", "rich.yaml", "child.yaml"]
VARIABLES = {
    "FUZZ_NUMBER": "7",
    "FUZZ_TEXT": "some text",
    "FUZZ_EMPTY": "",
    "FUZZ_DOLLAR": "${FUZZ_NUMBER}",
    "FUZZ_LIST": "[224, 224]",
}
