"""`hieraseg list runs`: the state of the runs in a folder."""

import os
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hieraseg.cli.layout import format_table, visible
from hieraseg.cli.report import print_result
from hieraseg.console import log
from hieraseg.errors import RecipeError, did_you_mean, from_here

if TYPE_CHECKING:  # imports numpy, which other lists do not wait for
    from hieraseg.runs.status import RunStatus

_DEFAULT = Path("runs")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_HEADER = ("run", "state", "epoch", "checkpoint", "val mIoU", "MB", "age")


def list_runs(root: Path | None, state: str | None, as_json: bool) -> None:
    """Print the runs in a folder, the one that changed last at the end.

    Args:
        root: the folder; `runs` if None.
        state: list only runs of this state.
        as_json: whether `--json` is given.

    Raises:
        RecipeError: there is no such folder or state.
    """
    from hieraseg.runs.leftovers import removable_leftovers
    from hieraseg.runs.status import STATES, read_statuses

    if state is not None and state not in STATES:
        raise RecipeError(f"--state: unknown {state!r}, {did_you_mean(state, STATES)}")
    is_named, root = root is not None, root or _DEFAULT
    if (is_named or os.path.lexists(root)) and not root.is_dir():  # a link to another disk
        raise RecipeError(f"{root}: no such folder; name one that `hieraseg run --out` wrote to")
    runs = [run for run in read_statuses(root) if state in (None, run.state)]
    print_result(as_json, list(map(_as_dict, runs)), _as_text(runs, root))
    leftovers = [one for one in removable_leftovers(root) if one.reason != "lock"]
    if leftovers:
        size = sum(one.bytes for one in leftovers) / 1e6
        log(
            f"{len(leftovers)} leftovers of processes that ended, {size:.1f} MB; remove them with "
            f"`hieraseg clean {from_here(root)}`"
        )


def _as_dict(run: "RunStatus") -> dict[str, Any]:
    return {
        "run": str(run.path),
        "state": run.state,
        "seed": run.seed,
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "can_be_resumed": run.can_be_resumed,
        "miou": run.score,
        "bytes": run.bytes,
        "changed": datetime.fromtimestamp(run.changed, UTC).isoformat(timespec="seconds"),
        "problem": run.problem,
    }


def _as_text(runs: Sequence["RunStatus"], root: Path) -> str:
    if not runs:
        return f"no runs in {from_here(root)}"
    now = time.time()
    names = [os.path.relpath(run.path, root) for run in runs]
    rows = [[name, *_cells(run, now)] for name, run in zip(names, runs, strict=True)]
    problems = [
        f"{visible(name)}: {visible(run.problem)}"
        for name, run in zip(names, runs, strict=True)
        if run.problem
    ]
    table = format_table(_HEADER, rows, optional=["MB", "checkpoint"])
    return "\n\n".join(filter(None, [table, "\n".join(problems), _how_to_go_on(runs)]))


def _how_to_go_on(runs: Sequence["RunStatus"]) -> str:
    """How runs that ended early are resumed or removed; empty if there are none."""
    resumable = [run for run in runs if run.can_be_resumed]
    if not resumable:
        return ""
    path = visible(shlex.quote(str(resumable[-1].path)))
    several = f"{len(resumable)} of these runs can go on after their checkpoints, as by"
    one = "one of these runs can go on after its checkpoint:"
    return (
        f"{several if len(resumable) > 1 else one} `hieraseg resume {path}`; one that is not "
        "needed is removed with its folder"
    )


def _cells(run: "RunStatus", now: float) -> list[str]:
    return [
        run.state,
        "-" if run.epochs is None else f"{run.epoch}/{run.epochs}",
        "-" if run.step is None else f"step {run.step}",
        "-" if run.score is None else f"{run.score:.3f}",
        f"{run.bytes / 1e6:.1f}",
        _age(now - run.changed),
    ]


def _age(seconds: float) -> str:
    """A duration in its largest unit, as in `3 h`."""
    size, unit = next((one for one in _UNITS if seconds >= one[0]), _UNITS[-1])
    return f"{max(seconds, 0) // size:.0f} {unit}"
