"""What commands import until their first step or result."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.runs import QUICKSTART, SMALL

UNUSED = {
    # matplotlib draws the curves of a run when it has trained.
    *("matplotlib", "scipy", "torchmetrics", "segmentation_models_pytorch", "pytest"),
    # Importing dynamo takes a second, but optimizers, fabric and torchvision all do it. What
    # compiles for it is not imported.
    *("torch._inductor.compile_fx", "torch._inductor.codecache", "torch._inductor.graph"),
    *("hieraseg.testing", "hieraseg.scaffold", "hieraseg.predict", "hieraseg.preview"),
}
PLUGIN = """
import gc, json, os, sys
from pathlib import Path

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from hieraseg import registry


@registry.schedules.register("leaving")
def leaving(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    def factor(step: int) -> float:
        if step:
            found = {"modules": list(sys.modules), "frozen": gc.get_freeze_count()}
            found["collects"] = gc.isenabled()
            Path("found.json").write_text(json.dumps(found))
            os._exit(0)
        return 1.0

    return LambdaLR(optimizer, factor)
"""


def test_run_imports_only_what_it_needs_until_its_first_step(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    run = ["run", QUICKSTART, "--plugin", "plugin.py", "--schedule", "leaving", *SMALL]
    command = [sys.executable, "-m", "hieraseg", *run, "--training.device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert {"torch", "timm", "hieraseg.train"} <= set(found["modules"])
    assert not UNUSED & set(found["modules"])
    assert found["collects"], "training goes on with garbage collection"
    assert found["frozen"], "but without looking at modules again"


def test_evaluate_imports_only_what_it_needs(run_copy: Path) -> None:
    arguments = ["evaluate", str(run_copy), "--device", "cpu", "--json"]
    program = (
        f"import sys; from hieraseg.cli import main; code = main({arguments}); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = set(done.stderr.splitlines()[-1].split())
    assert {"torch", "timm", "hieraseg.evaluate"} <= found
    assert not (UNUSED | {"tensorboard", "hieraseg.train"}) & found
