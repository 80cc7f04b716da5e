"""The event files of TensorBoard, as its own reader shows them."""

from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from hieraseg import registry

TensorBoard = registry.trackers.get("tensorboard")


def events(folder: Path) -> Any:
    accumulator = EventAccumulator(str(folder))
    return accumulator.Reload()


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in events(folder).Scalars(tag)]


def test_curves_and_pictures(tmp_path: Path) -> None:
    tracker = TensorBoard(tmp_path)
    tracker.log_metrics({"loss/total": 0.5, "miou/val_level_1": 0.25}, 10)
    tracker.log_image("val/a", [np.zeros((8, 12, 3), np.uint8)], 10)
    tracker.finalize("failed")
    assert points(tmp_path / "tensorboard", "loss/total") == [(10, 0.5)]
    (picture,) = events(tmp_path / "tensorboard").Images("val/a")
    assert (picture.step, picture.height, picture.width) == (10, 8, 12)


def settings(folder: Path) -> dict[str, Any]:
    (info,) = [
        HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info.hparams
        for tag, metadata in events(folder).summary_metadata.items()
        if tag == "_hparams_/session_start_info"
    ]
    return {key: value.string_value or value.number_value for key, value in info.items()}


def test_settings_stand_beside_the_best_scores(tmp_path: Path) -> None:
    """In a run of their own, whose curves are the columns of the tab HParams."""
    tracker = TensorBoard(tmp_path)
    tracker.log_hyperparams({"optimizer.lr": 0.125, "loss": "tree_min", "flip": True, "epochs": 1})
    tracker.log_metrics({"loss/train": 0.5}, 10)
    tracker.log_metrics({"best/miou_level_1": 0.25}, 10)
    tracker.finalize("success")
    best = tmp_path / "tensorboard/best"
    expected = {"optimizer.lr": 0.125, "loss": "tree_min", "flip": "true", "epochs": 1}
    assert settings(best) == expected
    assert points(best, "miou/best_level_1") == [(10, 0.25)]
    assert events(best).Tags()["scalars"] == ["miou/best_level_1"]
    assert events(tmp_path / "tensorboard").Tags()["scalars"] == ["loss/train"]


def test_settings_of_a_run_that_goes_on_replace_those_before(tmp_path: Path) -> None:
    for epochs in (1, 2):
        tracker = TensorBoard(tmp_path, after_step=10 * (epochs - 1))
        tracker.log_hyperparams({"epochs": epochs})
        tracker.log_metrics({"best/miou_level_1": epochs / 4}, 10 * epochs)
        tracker.finalize("success")
    best = tmp_path / "tensorboard/best"
    assert settings(best) == {"epochs": 2}
    assert points(best, "miou/best_level_1") == [(20, 0.5)]


def test_curves_of_a_group_share_a_chart(tmp_path: Path) -> None:
    tracker = TensorBoard(tmp_path)
    tracker.log_metrics({"loss/train": 0.5, "loss/val": 0.6, "iou_level_2/arm": 0.25}, 10)
    tracker.finalize("success")
    (written,) = events(tmp_path / "tensorboard").Tensors("custom_scalars__config__")
    layout = Layout.FromString(written.tensor_proto.string_val[0])
    charts = {
        chart.title: list(chart.multiline.tag) for one in layout.category for chart in one.chart
    }
    assert charts == {"loss": ["loss/.*"], "level 2": ["iou_level_2/.*"]}


def test_a_run_that_goes_on_has_no_point_twice(tmp_path: Path) -> None:
    tracker = TensorBoard(tmp_path)
    for step in (10, 20, 30):
        tracker.log_metrics({"loss/total": step}, step)
    tracker.finalize("aborted")
    tracker = TensorBoard(tmp_path, after_step=20)
    for step in (30, 40):
        tracker.log_metrics({"loss/total": step + 1}, step)
    tracker.finalize("success")
    assert points(tmp_path / "tensorboard", "loss/total") == [
        (10, 10),
        (20, 20),
        (30, 31),
        (40, 41),
    ]
