"""Earlier runs, as commands find them."""

import shutil
from pathlib import Path

LATER = ("checkpoints", "metrics.jsonl", "evaluation", "figures", "result.lock")
"""What a run writes after its first epoch."""


def unfinish(folder: Path, *others: str) -> None:
    """Make a run one that was killed, maybe before it had written some other files."""
    (folder / "result.json").unlink()
    for name in others:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
