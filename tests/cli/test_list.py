"""`hieraseg list`: kinds, components, class trees, and what is broken."""

import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from hieraseg import Hierarchy, registry
from hieraseg.cli import describe, fits, main
from hieraseg.recipe import Recipe, load
from hieraseg.recipe.arguments import arguments_of
from hieraseg.recipe.checking import CORE_SECTIONS
from hieraseg.registry.kinds import find_kind
from hieraseg.registry.registry import Registry
from hieraseg.registry.sections import SECTIONS
from tests.support.components import VALID, OtherLoss, fakes  # noqa: F401
from tests.support.runs import QUICKSTART

Captured = pytest.CaptureFixture[str]


def test_all_kinds(capsys: Captured) -> None:
    assert main(["list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["losses", "fake_loss", "tests.support.components:FakeLoss"] in rows
    assert [row[:3] for row in rows].count(["losses", "tree_min", "hieraseg"]) == 1
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {kind: sorted(names) for kind, names in listed.items()} == {
        kind: one.names() for kind, one in registry.by_name().items()
    }


@pytest.mark.parametrize("kind", ["datasets", "data"])
def test_one_kind(kind: str, capsys: Captured) -> None:
    assert main(["list", kind]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("fake_data"))
    assert re.split("  +", row) == ["fake_data", "Data that need a root."]
    assert main(["list", kind, "--json"]) == 0
    (listed,) = (one for one in json.loads(capsys.readouterr().out) if one["name"] == "fake_data")
    assert listed["origin"] == "tests.support.components:FakeData"
    assert listed["arguments"] == ["root", "size"]


def test_broken_plugin_is_listed_with_the_reason(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "frail_plugin.py").write_text("import no_such_module\n")
    info = tmp_path / "frail-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: frail\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hieraseg_losses]\nfrail = frail_plugin:Frail\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["list", "losses"]) == 0
    out = capsys.readouterr().out
    assert "frail (frail_plugin:Frail)" in out
    assert "broken: loss 'frail' of frail (frail_plugin:Frail) cannot be imported" in out
    assert "A loss with arguments of every type." in out
    assert main(["list", "losses", "frail"]) == 2


def test_one_component(tmp_path: Path, capsys: Captured) -> None:
    assert main(["list", "loss", "fake_loss"]) == 0
    out = capsys.readouterr().out
    assert "Its second paragraph." in out
    assert "tests/support/components.py:" in out
    assert "    gamma (float, default 2)\n        the exponent.\n" in out
    assert "    weights (list of float or null, default null)\n        of the levels.\n" in out
    assert "    hierarchy (" not in out
    section = out.split("In a recipe:\n")[1]
    path = tmp_path / "pasted.yaml"
    start, end = VALID.index("loss:"), VALID.index("inference:")
    path.write_text(VALID[:start] + section + VALID[end:])
    assert load(path)["loss"].name == "fake_loss"


def test_one_component_as_json(capsys: Captured) -> None:
    assert main(["list", "data", "fake_data", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["arguments"] == [
        {
            "name": "root",
            "type": "str",
            "required": True,
            "default": None,
            "meaning": "the folder.",
        },
        {
            "name": "size",
            "type": "list [int, int]",
            "required": False,
            "default": [8, 8],
            "meaning": "height and width.",
        },
    ]
    assert yaml.safe_load(listed["recipe"]) == {
        "data": {"name": "fake_data", "root": None, "size": [8, 8]}
    }


def test_what_components_fit(capsys: Captured) -> None:
    def listed(*words: str) -> Any:
        assert main(["list", *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    strides, channels = [4, 8, 16, 32], [256, 512, 1024, 2048]
    backbone = {"strides": strides, "channels": channels}
    assert listed("backbones", "resnet50")["fits"] == backbone
    decoder = listed("decoders", "skip")["fits"]
    assert strides in decoder["strides"]
    assert decoder["embedding"] is True
    losses = {one["name"]: one.get("fits") for one in listed("losses")}
    assert losses["marginal_ce"] == {
        "levels": "leaves",
        "activation": "leaf_softmax",
        "embedding_channels": 0,
    }
    assert losses["hssn"]["embedding_channels"] == 256
    assert losses["sum"] == {}, "it depends on its losses"
    assert main(["list", "losses"]) == 0
    rows = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()]
    assert ["tree_triplet", "no logits; embedding of 256 channels"] in [row[:2] for row in rows]
    assert main(["list", "backbones", "resnet50"]) == 0
    line = "fits    strides 4, 8, 16, 32; channels 256, 512, 1024, 2048\n"
    assert line in capsys.readouterr().out


def test_strides_that_a_decoder_refuses() -> None:
    class Picky(nn.Module):
        """Needs a stage of stride 4, and has no embedding."""

        def __init__(self, strides: Sequence[int], num_classes: Sequence[int]) -> None:
            if 4 not in strides:
                raise ValueError("no stage of stride 4")
            super().__init__()

    found = fits.of_decoder(Picky, find_kind("decoders"))
    assert found == {"strides": [[4, 8, 16, 32], [2, 4, 8, 16, 32]], "embedding": False}
    assert fits.as_text(found) == "strides 4, 8, 16, 32 or 2, 4, 8, 16, 32; no embedding"


def test_section_of_a_kind_with_many_components() -> None:
    """Its recipe section is a list with one item."""
    kind = replace(find_kind("losses"), name="penalties", section="penalties", many=True)
    penalties = Registry(kind)
    penalties.register("other_loss")(OtherLoss)
    section = yaml.safe_load(describe.as_dict(penalties, "other_loss")["recipe"])
    assert section == {"penalties": [{"name": "other_loss", "delta": 1}]}


def test_class_tree_of_a_component(capsys: Captured) -> None:
    assert main(["list", "hierarchies", "pascal_part"]) == 0
    out = capsys.readouterr().out
    drawn = """\
Classes per level, coarsest first: 2 / 3 / 7

background        label 0, background
body
├── upper_body
│   ├── low_hand  label 1
│   ├── torso     label 2
│   ├── head      label 4
│   └── up_hand   label 6
└── lower_body
    ├── low_leg   label 3
    └── up_leg    label 5
"""
    assert drawn in out
    assert out.split("In a recipe:\n")[1].strip() == "hierarchy:\n  name: pascal_part"
    assert main(["list", "hierarchies", "pascal_part", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["hierarchy"]
    assert listed["num_classes"] == [2, 3, 7]
    assert listed["tree"]["body"]["lower_body"] == {"low_leg": None, "up_leg": None}
    assert listed["labels"]["3"] == "low_leg"


def test_class_tree_of_a_file(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "tree.yaml"
    path.write_text(
        "tree: {sky: , body: {arms: [left, right], head: }, sea: [salt, sweet]}\n"
        "labels: {3: body, 1: left, 2: right, 9: left, 4: salt, 5: sky}\n"
        "void: [0, 255]\nbackground: sky\npairs: [[left, right]]\n"
    )
    assert main(["list", "hierarchies", str(path)]) == 0
    assert (
        capsys.readouterr().out
        == """\
Classes per level, coarsest first: 3 / 5 / 6

sky            label 5, background
body           label 3
├── arms
│   ├── left   labels 1 9, flips to right
│   └── right  label 2, flips to left
└── head       no label
sea
├── salt       label 4
└── sweet      no label

Void: labels 0 255
"""
    )
    assert main(["list", "hierarchies", str(path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["pairs"] == [["left", "right"]]
    assert listed["void"] == [0, 255]
    assert Hierarchy.from_tree(listed["tree"]).num_classes == [3, 5, 6]


def test_class_tree_with_wide_and_control_characters(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "tree.yaml"
    path.write_text('tree: ["\\u773c\\u775b", "a\\nb", "\\e[31m"]\n')
    assert main(["list", "hierarchies", str(path)]) == 0
    drawn = capsys.readouterr().out.splitlines()[2:]
    assert drawn == ["\u773c\u775b      label 0", "a\\nb      label 1", "\\x1b[31m  label 2"]


def test_class_tree_in_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tree.txt"
    path.write_text("sky\nbody\n  arm\n  t\u00eate\n", encoding="utf-8")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["list", "hierarchies", str(path)]) == 0
    drawn = stdout.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert drawn.endswith("\nbody\n|-- arm   label 1\n`-- t\\xeate  label 2\n")


@pytest.mark.parametrize("section", list(CORE_SECTIONS))
def test_keys_of_a_section(section: str, capsys: Captured) -> None:
    """Each key with its type, default and meaning, and a section that a recipe can have."""
    assert main(["list", section, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    defaults = {one["name"]: one["default"] for one in listed["arguments"]}
    assert set(defaults) == set(arguments_of(CORE_SECTIONS[section]))
    assert all(one["type"] and one["meaning"] for one in listed["arguments"])
    assert yaml.safe_load(listed["recipe"]) == {section: defaults}
    assert main(["list", section]) == 0
    assert all(f"    {key} (" in capsys.readouterr().out for key in list(defaults)[:1])


def test_one_key_of_a_section(capsys: Captured) -> None:
    assert main(["list", "training", "epochs"]) == 0
    out = capsys.readouterr().out
    assert "    epochs (positive int, default 50)\n        passes over the training split.\n" in out
    assert "batch_size" not in out
    assert main(["list", "training", "epoch"]) == 2
    assert "training: unknown key 'epoch', did you mean 'epochs'?" in capsys.readouterr().err


def test_sections_are_those_of_a_recipe() -> None:
    """All attributes of `Recipe` but what the table does not have: files, components, places."""
    others = {"path", "plugins", "components", "origin"}
    assert {one.name for one in fields(Recipe)} == {*SECTIONS, *others}


def test_shipped_recipe(capsys: Captured) -> None:
    """Its text with its comments, as it is in the file."""
    assert main(["list", "recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == Path(QUICKSTART).read_text()
    assert main(["list", "recipes", "quickstrat"]) == 2
    assert "unknown recipe 'quickstrat', did you mean 'quickstart'?" in capsys.readouterr().err


def test_hierarchy_with_a_required_argument_is_not_drawn(capsys: Captured) -> None:
    assert main(["list", "hierarchies", "file"]) == 0
    out = capsys.readouterr().out
    assert "path (path, required)" in out
    assert "Classes per level" not in out


def test_hierarchy_files_with_problems(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "tree.txt"
    path.write_text("a\n  b\n c\n")
    assert main(["list", "hierarchies", str(path)]) == 2
    assert f"hierarchy: {path}:3: 'c': indentation matches no line above" in capsys.readouterr().err
    assert main(["list", "hierarchies", "no_tree"]) == 2
    assert "hierarchy 'no_tree' of" in capsys.readouterr().err
    assert main(["list", "hierarchies", "tree.yml"]) == 2
    assert "hierarchy: tree.yml: no such hierarchy file" in capsys.readouterr().err
    path.write_text("".join(f"{level * ' '}c{level}\n" for level in range(1_000)))
    assert main(["list", "hierarchies", str(path)]) == 2
    assert "too many levels to draw: at most 100, got 1000" in capsys.readouterr().err
    (tmp_path / "folder.yaml").mkdir()
    assert main(["list", "hierarchies", str(tmp_path / "folder.yaml")]) == 2
    assert "folder.yaml: cannot be read: Is a directory" in capsys.readouterr().err
    assert main(["list", "losses", str(path)]) == 2
    assert "unknown loss" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["losse"], "unknown kind of component 'losse', did you mean 'losses'?"),
        (["trainin"], "unknown kind of component 'trainin', did you mean 'training'?"),
        (["losses", "fake_los"], "unknown loss 'fake_los', did you mean 'fake_loss'?"),
        (["losses", "open_loss"], "its signature has **settings: int: name each argument"),
    ],
)
def test_unknown_kinds_and_names(arguments: list[str], expected: str, capsys: Captured) -> None:
    assert main(["list", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err
