"""What makes runs replicates of each other."""

from pathlib import Path
from typing import Any

import pytest

import hieraseg
from hieraseg.runs.identity import code_of, data_of, identity_of, settings_in
from hieraseg.runs.provenance import UNUSED_IN_RUNS

SHA = "0123456789abcdef" * 4
RECIPE: dict[str, Any] = {
    "hierarchy": {"name": "file", "path": "files/tree.yaml"},
    "loss": {
        "name": "sum",
        "losses": [{"name": "ce", "weights": [1.0, 2.0]}, {"name": "dice", "smooth": 0.0}],
    },
    "data": {"name": "folder", "root": "/data", "labels": {0: "rest", 1: "head"}},
    "augmentation": {"transforms": [], "options": {}},
    "training": {"seed": 3, "device": "cpu", "epochs": 1, "compile": "off", "resume": None},
    "logging": {"images": 4},
    "plugins": ["plugins/own.py"],
}
PROVENANCE: Any = {
    "code": {"version": "1", "sources": "s", "revision": "r", "diff": "d"},
    "plugins": {"loss": [{"name": "ce", "sha256": "a", "sources": "b"}]},
    "data": {"train": "t", "val": "v"},
    "plugin_files": [{"file": "plugins/own.py", "original": "/own.py", "sha256": "p"}],
    "argument_files": [{"file": "files/tree.yaml", "original": "/tree.yaml", "sha256": SHA}],
}


def test_settings_are_yaml_by_dotted_key() -> None:
    assert settings_in(RECIPE, PROVENANCE) == {
        "hierarchy": "file",
        "hierarchy.path": "tree.yaml (012345)",
        "loss": "sum",
        "loss.losses[0]": "ce",
        "loss.losses[0].weights": "[1.0, 2.0]",
        "loss.losses[1]": "dice",
        "loss.losses[1].smooth": "0.0",
        "data": "folder",
        "data.labels.0": "rest",
        "data.labels.1": "head",
        "augmentation.transforms": "[]",
        "augmentation.options": "{}",
        "training.epochs": "1",
        "training.compile": "'off'",
        "training.resume": "null",
    }


def test_code_and_data_are_known_by_digests() -> None:
    assert code_of(PROVENANCE) == {"hieraseg": "s", "loss ce": "b", "plugins/own.py": "p"}
    assert data_of({**PROVENANCE, "init": {"sha256": "w"}}) == {**PROVENANCE["data"], "init": "w"}
    assert data_of({"init": None}) == {}


def test_code_of_older_runs_is_their_revision() -> None:
    """With its changes; and the file of a component, of which they kept no other digest."""
    older: Any = {"code": {"version": "1", "revision": "r", "diff": "d"}}
    changed: Any = {"code": {"version": "1", "revision": "r", "diff": "other"}}
    assert code_of(older) == code_of({**older, "started": "later"}) != code_of(changed)
    assert code_of({"plugins": {"loss": [{"name": "ce", "sha256": "a"}]}}) == {"loss ce": "a"}
    assert code_of({}) == {}


def changed(**sections: Any) -> dict[str, Any]:
    return {**RECIPE, **sections}


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (changed(training={**RECIPE["training"], "seed": 4, "device": "cuda"}), {}),
    (changed(data={**RECIPE["data"], "root": "/elsewhere"}, logging={"images": 0}), {}),
    (
        changed(trackers=[{"name": "mine"}]),
        {
            "plugins": {**PROVENANCE["plugins"], "trackers": [{"name": "mine", "sha256": "q"}]},
            "plugin_files": [
                *PROVENANCE["plugin_files"],
                {"file": "plugins/mine.py", "original": "/mine.py", "sha256": "q"},
            ],
        },
    ),
    (RECIPE, {"started": "later", "code": {**PROVENANCE["code"], "revision": "docs"}}),
    (
        changed(hierarchy={"name": "file", "path": "files/renamed.yaml"}),
        {"argument_files": [{"file": "files/renamed.yaml", "original": "/x", "sha256": SHA}]},
    ),
]
OTHER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (changed(training={**RECIPE["training"], "epochs": 2}), {}),
    (changed(training={**RECIPE["training"], "resume": "null"}), {}),
    (RECIPE, {"code": {**PROVENANCE["code"], "sources": "other"}}),
    (RECIPE, {"plugins": {"loss": [{"name": "ce", "sha256": "a", "sources": "c"}]}}),
    (RECIPE, {"plugin_files": []}),
    (RECIPE, {"data": {"train": "t", "val": "other"}}),
    (RECIPE, {"init": {"file": "x", "sha256": "w"}}),
    (RECIPE, {"argument_files": [{**PROVENANCE["argument_files"][0], "sha256": "1" * 64}]}),
]


@pytest.mark.parametrize(("recipe", "records"), SAME)
def test_replicates(recipe: dict[str, Any], records: Any) -> None:
    """Runs that differ in seed, in where things are, or in files of the repository without code."""
    same = identity_of("q", recipe, {**PROVENANCE, **records})
    assert same == identity_of("q", RECIPE, PROVENANCE)


@pytest.mark.parametrize(("recipe", "records"), OTHER)
def test_no_replicates(recipe: dict[str, Any], records: Any) -> None:
    other = identity_of("q", recipe, {**PROVENANCE, **records})
    assert other != identity_of("q", RECIPE, PROVENANCE)
    assert identity_of("other", RECIPE, PROVENANCE) != identity_of("q", RECIPE, PROVENANCE)


def test_only_packages_that_exist_are_left_out_of_the_code_of_a_run() -> None:
    root = Path(hieraseg.__file__).parent
    assert all((root / name).exists() for name in UNUSED_IN_RUNS)
    assert not UNUSED_IN_RUNS & {"training", "model", "metrics", "train.py"}
