"""The repositories that the code of a run is in, and their uncommitted changes."""

import subprocess
from pathlib import Path
from random import Random

import pytest

from hieraseg.runs import repositories
from hieraseg.runs.folder import RunFolder
from hieraseg.runs.repositories import repositories_of, save_changes


def git(folder: Path, *arguments: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder))
    return subprocess.run(
        ["git", *own, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a changed file, what git does not know, and what it ignores."""
    root = tmp_path / "project"
    (root / "inner").mkdir(parents=True)
    git(root, "init", "--quiet")
    git(root, "remote", "add", "origin", "https://token@example.org/x.git")
    (root / "inner/plugin.py").write_text("value = 1\n")
    (root / ".gitignore").write_text("ignored.py\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "inner/plugin.py").write_text("value = 2\n")
    (root / "new.py").touch()
    (root / "ignored.py").touch()
    (root / "runs/base").mkdir(parents=True)
    (root / "runs/base/recipe.yaml").touch()
    (root / "venv").mkdir()
    (root / "venv/.gitignore").write_text("*\n")
    (root / "nothing").mkdir()
    return root


def test_the_patch_gives_the_code_that_was_run(repository: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (record,) = save_changes(run, repositories_of([repository / "inner/plugin.py"]))
    assert record["root"] == str(repository)
    assert record["untracked"] == ["new.py", "runs/"]
    assert record["changes"]["file"] == "changes/project.diff"
    assert "token" not in str(record)
    git(repository, "stash", "--quiet")
    git(repository, "checkout", "--quiet", record["revision"])
    git(repository, "apply", str(run.path / record["changes"]["file"]))
    assert (repository / "inner/plugin.py").read_text() == "value = 2\n"


@pytest.fixture
def weights(repository: Path) -> Path:
    """A binary file that git knows, and that is changed."""
    file = repository / "weights.bin"
    file.write_bytes(b"\0first")
    git(repository, "add", "weights.bin")
    git(repository, "commit", "--quiet", "-m", "weights", "weights.bin")
    file.write_bytes(b"\0" + Random(0).randbytes(2000))
    return file


def test_the_patch_has_binary_files(repository: Path, weights: Path, tmp_path: Path) -> None:
    """Also those that are removed, whatever git's settings make of patches."""
    git(repository, "config", "diff.noprefix", "true")
    git(repository, "rm", "--quiet", ".gitignore")
    now = weights.read_bytes()
    (record,) = save_changes(RunFolder(tmp_path), repositories_of([weights]))
    assert record["changes"]["left_out"] == []
    git(repository, "stash", "--quiet")
    git(repository, "apply", str(tmp_path / record["changes"]["file"]))
    assert weights.read_bytes() == now
    assert not (repository / ".gitignore").exists()


def test_large_binary_files_are_named(
    repository: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the patch is kept."""
    monkeypatch.setattr(repositories, "LARGEST_DIFF", 1000)
    (record,) = save_changes(RunFolder(tmp_path), repositories_of([weights]))
    assert record["changes"]["left_out"] == ["weights.bin"]
    patch = (tmp_path / record["changes"]["file"]).read_text()
    assert "Binary files a/weights.bin and b/weights.bin differ" in patch
    assert "+value = 2" in patch


def test_repositories_that_do_not_know_the_file_are_left_out(repository: Path) -> None:
    """As that of a project in which packages are installed."""
    assert not repositories_of([repository / "ignored.py", repository.parent / "elsewhere.py"])


def test_without_changes_there_is_no_patch(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "--quiet", ".")
    (record,) = save_changes(RunFolder(tmp_path), repositories_of([repository / ".gitignore"]))
    assert record["changes"] is None
    assert not (tmp_path / "changes").exists()


def test_a_large_patch_is_not_kept(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "LARGEST_DIFF", 10)
    (record,) = save_changes(RunFolder(tmp_path), repositories_of([repository / ".gitignore"]))
    assert record["changes"]["file"] is None
    assert record["changes"]["bytes"] > 10


def test_where_git_does_not_say_it_is_not_taken_for_unchanged(tmp_path: Path) -> None:
    """As before the first commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "plugin.py").touch()
    git(tmp_path, "add", ".")
    (record,) = save_changes(RunFolder(tmp_path), repositories_of([tmp_path / "plugin.py"]))
    assert record["revision"] is None
    assert record["changes"] == {"bytes": None, "file": None}


def test_variables_of_git_do_not_lead_to_another_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git sets them for its hooks, and some for all files of a user."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "another")
    revision = git(repository, "rev-parse", "HEAD").strip()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    (found,) = repositories_of([repository / "inner/plugin.py"])
    assert found.revision == revision
    assert found.diff


def unread(files: list[Path], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The warning of repositories that git does not read, and that are recorded nevertheless."""
    (record,) = save_changes(RunFolder(out), repositories_of(files))
    assert record["root"] == str(files[0].parents[1])
    assert (record["revision"], record["changes"]) == (None, {"bytes": None, "file": None})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {record['root']}: ")
    assert "so provenance.json has neither the revision nor the uncommitted changes; " in line
    return line


def test_a_repository_of_another_user_is_said(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Git refuses it, as in a container; once for all files."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    files = [repository / "inner/plugin.py", repository / "new.py"]
    said = unread(files, tmp_path, capsys)
    assert "cannot be read by git (detected dubious ownership in repository at" in said
    assert said.endswith(f"run `git config --global --add safe.directory {repository}`")


def test_a_missing_git_is_said(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = unread([repository / "inner/plugin.py"], tmp_path, capsys)
    assert ": git is not installed, so" in said
    assert said.endswith("; install it")


def test_a_broken_repository_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a worktree whose repository is not there."""
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/.git").write_text("gitdir: /nowhere/project/.git/worktrees/tree\n")
    said = unread([tmp_path / "tree/inner/plugin.py"], tmp_path, capsys)
    assert "cannot be read by git (not a git repository: /nowhere/project" in said
    assert said.endswith(f"run `git -C {tmp_path / 'tree'} status`")
