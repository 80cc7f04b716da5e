"""What killed processes leave in run folders."""

from pathlib import Path

from hieraseg.runs.leftovers import find_leftovers


def test_leftovers_are_found(tmp_path: Path) -> None:
    """Only those that the writers leave, and a previous version only beside a whole one."""
    leftovers = [
        "run/0123456789abcdef.unfinished",
        "run/result.lock",
        ".base-seed0.lock",
        "run/checkpoints/last.89abcdef.unfinished",
        "run/checkpoints/last.previous",
    ]
    kept = [
        "run/result.json",
        "other.lock",
        "run/checkpoints/last",
        "run/checkpoints/best.previous",
    ]
    for name in (*leftovers, *kept):
        if "checkpoints" in name:
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "model.safetensors").touch()
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    assert sorted(find_leftovers(tmp_path)) == sorted(tmp_path / name for name in leftovers)
