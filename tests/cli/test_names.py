"""Names that mean something to a terminal, to rich or to LaTeX, in all commands that print them."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from rich.progress import BarColumn

from hieraseg.cli import main
from hieraseg.console import console, log, progress, progress_bar, text_column
from tests.support.runs import QUICKSTART, SMALL

NAMES = ["door [open]", "a[/b]", ":dog: 50% & _x_ | {y}", "тело 世界"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose classes have these names, and a folder that has markup in its name."""
    folder = tmp_path_factory.mktemp("names")
    tree = {"background": None, "body [/red]": dict.fromkeys([*NAMES, "leg"])}
    labels = ["background", *NAMES, "leg", NAMES[0]]
    section = {"tree": tree, "labels": dict(enumerate(labels))}
    (folder / "tree.yaml").write_text(yaml.safe_dump(section, allow_unicode=True))
    hierarchy = f"{{name: file, path: {folder / 'tree.yaml'}}}"
    out = folder / "[bold]runs"
    options = ["--hierarchy", hierarchy, "--training.max_steps", "1", "--logging.images", "1"]
    assert main(["run", QUICKSTART, "--out", str(out), *SMALL, *options]) == 0
    return next(out.glob("*/*/result.json")).parent


def commands(run: Path) -> list[list[str]]:
    tree = str(run.parents[2] / "tree.yaml")
    return [
        ["evaluate", str(run)],
        *(["compare", str(run), *option] for option in ([], ["--md"], ["--csv"], ["--latex"])),
        ["list", "hierarchies", tree],
        ["show", str(run / "recipe.yaml")],
        ["validate", str(run / "recipe.yaml")],
        ["list", "losses", "[/red]"],
    ]


def test_names_are_printed_as_they_are(run: Path, capsys: Captured) -> None:
    for command in commands(run):
        assert main(command) == (2 if "losses" in command else 0)
    out, err = capsys.readouterr()
    for name in NAMES:
        assert f"2 {name} " in out  # of `evaluate`
        assert f"{name} " in out.partition("Classes per level")[2]  # of `list`
    assert "unknown loss '[/red]'" in err
    assert main(["evaluate", str(run), "--json"]) == 0
    assert set(NAMES) < set(json.loads(capsys.readouterr().out)["levels"][1]["iou"])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminals_without_these_characters(
    encoding: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in commands(run):
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        assert main(command) == (2 if "losses" in command else 0)
        if command[0] in ("evaluate", "list") and "losses" not in command:
            stdout.seek(0)
            text = stdout.read()
            assert "door [open]" in text
            assert "\\u0442\\u0435\\u043b\\u043e" in text


def test_log_lines_and_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take no text for markup, and draw in ASCII where they have to."""
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stderr", stderr)
    log(" ".join(NAMES))
    bar = progress_bar(text_column("{task.description}"), BarColumn())
    bar.add_task("reading a[/b] :dog:", total=2, completed=1)
    console.print(bar.get_renderable())
    stderr.seek(0)
    text = stderr.read()
    assert "door [open] a[/b] :dog: 50% & _x_ | {y} \\u0442" in text
    assert "reading a[/b] :dog: ----" in text
    assert list(progress([1, 2], "[/b]", 2)) == [1, 2]
