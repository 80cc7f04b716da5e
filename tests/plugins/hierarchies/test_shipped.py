"""The shipped class trees, compared with facts from their sources."""

import pytest
import torch
from torchvision.datasets import Cityscapes
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights

from hieraseg import IGNORE_INDEX, Hierarchy, registry

CLASSES = {
    "ade20k": [2, 150],
    "camvid": [4, 11, 31],
    "cityscapes": [7, 19],
    "coco_stuff": [2, 27, 171],
    "lip": [2, 3, 20],
    "mapillary_vistas_v2": [8, 44, 109, 116],
    "pascal_part": [2, 3, 7],
    "pascal_part_58": [21, 58],
    "pascal_part_108": [21, 108],
    "pascal_person_part": [2, 3, 7],
}
VOID = {
    "ade20k": [0],
    "camvid": [30],
    "cityscapes": [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30],
    "coco_stuff": [255],
    "lip": [],
    "mapillary_vistas_v2": [2, 31, 38, 79, 86, 96, 115, 123],
    "pascal_part": [],
    "pascal_part_58": [255],
    "pascal_part_108": [255],
    "pascal_person_part": [255],
}
WITH_BACKGROUND = {"lip", "pascal_part", "pascal_part_58", "pascal_part_108", "pascal_person_part"}

ADE20K_PIXEL_SHARES = """
1576 1072 878 621 480 450 398 231 198 183 181 166 160 151 118 110 109 104 104 103 98 74 67 65 61
60 53 52 46 44 44 44 33 31 30 27 26 24 24 23 23 22 22 20 19 19 18 18 18 18 18 18 18 17 17 17 17 17
15 15 15 15 14 14 14 14 14 13 13 13 12 12 12 12 11 10 9 9 9 9 9 8 8 8 8 8 7 7 7 7 7 7 7 6 6 6 6 6
6 6 6 6 6 6 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 4 4 4 4 4 4 4 4 4 4 4 4 4 3 3 3 3 3 3 3 3 3 3 3 3
3 2 2 2
"""
"""Of the classes 1 to 150 in 1/10,000 of all pixels (objectInfo150.txt)."""

SIZES_58 = [1, 5, 2, 4, 1, 2, 3, 5, 4, 1, 4, 1, 4, 4, 2, 6, 2, 3, 1, 1, 2]
SIZES_108 = [1, 5, 4, 8, 1, 2, 8, 7, 9, 1, 8, 1, 10, 8, 4, 12, 2, 8, 1, 7, 1]
"""Parts of the background and of each object of Pascal VOC (GMNet, map_parts_to_classes)."""

CAMVID_CLASSES = """
Animal Archway Bicyclist Bridge Building Car CartLuggagePram Child Column_Pole Fence LaneMkgsDriv
LaneMkgsNonDriv Misc_Text MotorcycleScooter OtherMoving ParkingBlock Pedestrian Road RoadShoulder
Sidewalk SignSymbol Sky SUVPickupTruck TrafficCone TrafficLight Train Tree Truck_Bus Tunnel
VegetationMisc Void Wall
"""
"""The lines of CamVid's label_colors.txt."""

CAMVID_11 = """
Sky
Bridge Building Wall Tunnel Archway
Column_Pole TrafficCone
Road LaneMkgsDriv LaneMkgsNonDriv
Sidewalk ParkingBlock RoadShoulder
Tree VegetationMisc
SignSymbol Misc_Text TrafficLight
Fence
Car SUVPickupTruck Truck_Bus Train OtherMoving
Pedestrian Child CartLuggagePram Animal
Bicyclist MotorcycleScooter
"""
"""The 11 classes of SegNet as MATLAB's camvidPixelLabelIDs lists them, one per line."""

COCO_THING_GROUPS = """
electronic appliance food furniture indoor kitchen accessory animal outdoor person sports vehicle
"""
COCO_STUFF_GROUPS = """
ceiling floor food furniture rawmaterial textile wall window building ground plant sky solid
structural water
"""
COCO_GROUP_OF_LABEL = """
9 11 11 11 11 11 11 11 11 8 8 8 8 8 8 7 7 7 7 7 7 7 7 7 7 6 6 6 6 6 6 6 6 10 10 10 10 10 10 10 10
10 10 5 5 5 5 5 5 5 5 2 2 2 2 2 2 2 2 2 2 3 3 3 3 3 3 3 3 3 3 0 0 0 0 0 0 1 1 1 1 1 1 4 4 4 4 4 4 4
4 17 17 22 20 20 22 15 25 16 13 12 12 17 17 23 15 15 17 15 21 15 25 13 13 13 13 13 22 26 14 14 15
22 21 21 24 20 22 15 17 16 15 22 24 21 17 25 16 21 17 22 16 21 21 25 21 26 21 24 20 17 14 21 26 15
23 20 21 24 15 24 22 25 15 20 17 17 22 14 18 18 18 18 18 18 18 26 26 19 19 24
"""
"""Numbers of the 27 groups in github.com/mhamilton723/STEGO, src/data.py, including gaps."""


def shipped(name: str) -> Hierarchy:
    hierarchy = registry.hierarchies.get(name)()
    assert isinstance(hierarchy, Hierarchy)
    return hierarchy


def path(hierarchy: Hierarchy, value: int) -> list[str]:
    """Names on the path of a label value, from `encode`."""
    levels = hierarchy.encode(torch.full((1, 1), value)).flatten().tolist()
    return [names[index] for names, index in zip(hierarchy.level_names, levels, strict=True)]


def children(hierarchy: Hierarchy, name: str) -> list[str]:
    """Leaves below a class of level 1 or 2, ordered by label."""
    return [
        path(hierarchy, value)[-1] for value in hierarchy.labels if name in path(hierarchy, value)
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_classes_per_level_are_those_of_the_summary(name: str) -> None:
    assert shipped(name).num_classes == CLASSES[name]
    summary = registry.hierarchies.get(name).__doc__.splitlines()[0]
    assert "/".join(map(str, CLASSES[name])) in summary


@pytest.mark.parametrize("name", CLASSES)
def test_each_leaf_has_one_label_and_void_values_have_none(name: str) -> None:
    hierarchy = shipped(name)
    assert sorted(hierarchy.labels.values()) == sorted(hierarchy.level_names[-1])
    for value, leaf in hierarchy.labels.items():
        assert path(hierarchy, value)[-1] == leaf
    assert list(hierarchy.void) == VOID[name]
    mask = torch.tensor([[*VOID[name], max(hierarchy.labels) + 1, 255]])
    assert (hierarchy.encode(mask, check=False) == IGNORE_INDEX).all()


@pytest.mark.parametrize("name", CLASSES)
def test_only_part_data_sets_have_a_background(name: str) -> None:
    hierarchy = shipped(name)
    if name in WITH_BACKGROUND:
        assert hierarchy.background == "background"
        assert path(hierarchy, 0) == ["background"] * hierarchy.num_levels
    else:
        assert hierarchy.background is None
        assert "background" not in hierarchy.level_names[-1]


def test_cityscapes_agrees_with_torchvision() -> None:
    hierarchy = shipped("cityscapes")
    evaluated = [label for label in Cityscapes.classes if not label.ignore_in_eval]
    assert hierarchy.labels == {label.id: label.name for label in evaluated}
    for label in evaluated:
        assert path(hierarchy, label.id) == [label.category, label.name]
        assert hierarchy.level_names[-1][label.train_id] == label.name
        assert hierarchy.level_names[0][label.category_id - 1] == label.category
    ignored = {label.id for label in Cityscapes.classes if label.ignore_in_eval}
    assert set(hierarchy.void) == ignored - {-1}


def test_coco_stuff_names_are_those_of_coco() -> None:
    hierarchy = shipped("coco_stuff")
    coco = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    things = {value: name for value, name in enumerate(coco[1:]) if name != "N/A"}
    assert {value: name for value, name in hierarchy.labels.items() if value < 91} == things
    stuff = [hierarchy.labels[value] for value in range(91, 182)]
    assert stuff == sorted(stuff), "the published order is alphabetical"
    assert children(hierarchy, "things") == list(things.values())
    assert children(hierarchy, "stuff") == stuff


def test_coco_stuff_groups_match_stego() -> None:
    hierarchy = shipped("coco_stuff")
    groups = [f"{group}-things" for group in COCO_THING_GROUPS.split()]
    groups += [f"{group}-stuff" for group in COCO_STUFF_GROUPS.split()]
    expected = [groups[int(index)] for index in COCO_GROUP_OF_LABEL.split()]
    for value in hierarchy.labels:
        root, group, _ = path(hierarchy, value)
        assert group == expected[value]
        assert group.endswith(root)


def test_ade20k_stuff_and_objects_have_their_published_share_of_pixels() -> None:
    hierarchy = shipped("ade20k")
    shares = dict(enumerate(map(int, ADE20K_PIXEL_SHARES.split()), start=1))
    assert hierarchy.labels.keys() == shares.keys()
    published = {"stuff": (35, 6092), "objects": (115, 3183)}  # arXiv:1608.05442
    for name, expected in published.items():
        values = [value for value in shares if path(hierarchy, value)[0] == name]
        assert (len(values), sum(shares[value] for value in values)) == expected


def test_ade20k_classes() -> None:
    hierarchy = shipped("ade20k")
    for value, expected in {
        1: ["stuff", "wall"],
        5: ["objects", "tree"],
        13: ["objects", "person"],
        21: ["objects", "car"],
        45: ["objects", "chest of drawers"],
        54: ["objects", "stairs"],
        60: ["stuff", "stairway"],
        80: ["stuff", "hovel"],
        95: ["stuff", "land"],
        106: ["stuff", "conveyer belt"],
        131: ["objects", "screen"],
        141: ["stuff", "pier"],
        142: ["objects", "crt screen"],
        150: ["objects", "flag"],
    }.items():
        assert path(hierarchy, value) == expected


def test_camvid_labels_are_the_lines_of_the_color_table() -> None:
    names = dict(enumerate(CAMVID_CLASSES.split()))
    assert names.pop(30) == "Void"
    assert shipped("camvid").labels == names


def test_camvid_level_2_has_the_classes_of_segnet() -> None:
    hierarchy = shipped("camvid")
    expected = {frozenset(line.split()) for line in CAMVID_11.strip().splitlines()}
    assert {frozenset(children(hierarchy, name)) for name in hierarchy.level_names[1]} == expected


def test_mapillary_paths_are_the_names_of_the_classes() -> None:
    hierarchy = shipped("mapillary_vistas_v2")
    for value, name in hierarchy.labels.items():
        parts = name.split("--")
        above = ["--".join(parts[: level + 1]) for level in range(hierarchy.num_levels)]
        assert path(hierarchy, value) == above
    assert sorted([*hierarchy.labels, *hierarchy.void]) == list(range(124))
    assert {value: hierarchy.labels[value] for value in (0, 21, 30, 54, 61, 92, 108, 117, 122)} == {
        0: "animal--bird",
        21: "construction--flat--road",
        30: "human--person--individual",
        54: "marking--discrete--text",
        61: "nature--sky",
        92: "object--traffic-light--general-upright",
        108: "object--vehicle--car",
        117: "object--water-valve",
        122: "void--static",
    }


def test_mapillary_flips_swap_arrows() -> None:
    mirrored = shipped("mapillary_vistas_v2").mirrored_labels.tolist()
    turned = {value: image for value, image in enumerate(mirrored) if value != image}
    assert turned == {39: 41, 41: 39, 42: 43, 43: 42}


def test_lip_tree_matches_hssn() -> None:
    hierarchy = shipped("lip")
    halves = {"upper_body": [1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14, 15]}
    halves["lower_body"] = [8, 9, 12, 16, 17, 18, 19]
    for half, values in halves.items():
        assert [value for value in range(20) if half in path(hierarchy, value)] == values
        assert all(path(hierarchy, value)[0] == "body" for value in values)
    names = (
        "hat hair glove sunglasses upper_clothes dress coat socks pants jumpsuits scarf skirt face"
    )
    assert [hierarchy.labels[value] for value in range(1, 14)] == names.split()


def test_lip_flips_swap_sides() -> None:
    hierarchy = shipped("lip")
    pairs = {14: "left_arm", 15: "right_arm", 16: "left_leg", 17: "right_leg"}
    pairs |= {18: "left_shoe", 19: "right_shoe"}
    assert {value: hierarchy.labels[value] for value in pairs} == pairs
    assert hierarchy.mirrored_labels.tolist() == [*range(14), 15, 14, 17, 16, 19, 18]


@pytest.mark.parametrize(
    ("name", "sizes"), [("pascal_part_58", SIZES_58), ("pascal_part_108", SIZES_108)]
)
def test_pascal_parts_follow_the_objects_of_pascal_voc(name: str, sizes: list[int]) -> None:
    hierarchy = shipped(name)
    _, *objects = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    owners = ["background", *objects]
    assert hierarchy.level_names[0] == owners
    expected = [owner for owner, size in zip(owners, sizes, strict=True) for _ in range(size)]
    for value, owner in enumerate(expected):
        above, part = path(hierarchy, value)
        assert above == owner
        assert part == owner or part.startswith(f"{owner}_")


def test_pascal_part_58_parts() -> None:
    labels = shipped("pascal_part_58").labels
    for value, name in {
        2: "aeroplane_engine",
        4: "aeroplane_stern",
        7: "bicycle_body",
        12: "boat",
        21: "car_license_plate",
        25: "cat_tail",
        29: "cow_tail",
        34: "dog_leg",
        45: "person_lower_arm",
        46: "person_upper_arm",
        47: "person_lower_leg",
        48: "person_upper_leg",
        52: "sheep_leg",
        55: "train",
        57: "tvmonitor_frame",
    }.items():
        assert labels[value] == name


def test_pascal_part_108_parts() -> None:
    labels = shipped("pascal_part_108").labels
    for value, name in {
        2: "aeroplane_stern",
        9: "bicycle_chainwheel",
        14: "bird_wing",
        18: "boat",
        23: "bus_mirror",
        31: "car_license_plate",
        43: "cat_paw",
        49: "cow_horn",
        54: "diningtable",
        64: "dog_muzzle",
        72: "horse_hoof",
        76: "motorbike_headlight",
        85: "person_arm",
        88: "person_foot",
        94: "sheep_horn",
        102: "train_head_roof",
        105: "train_coach_side",
        107: "tvmonitor_screen",
    }.items():
        assert labels[value] == name


def test_pascal_person_part_has_the_standard_order() -> None:
    hierarchy = shipped("pascal_person_part")
    assert [path(hierarchy, value)[1:] for value in range(7)] == [
        ["background", "background"],
        ["upper_body", "head"],
        ["upper_body", "torso"],
        ["upper_body", "upper_arms"],
        ["upper_body", "lower_arms"],
        ["lower_body", "upper_legs"],
        ["lower_body", "lower_legs"],
    ]


def test_pascal_person_part_is_the_tree_of_pascal_part_in_another_order() -> None:
    standard, ours = shipped("pascal_person_part"), shipped("pascal_part")
    # In pascal_part, "hand" means arm.
    same = {0: 0, 1: 4, 2: 2, 3: 6, 4: 1, 5: 5, 6: 3}
    assert {standard.labels[value]: ours.labels[other] for value, other in same.items()} == {
        "background": "background",
        "head": "head",
        "torso": "torso",
        "upper_arms": "up_hand",
        "lower_arms": "low_hand",
        "upper_legs": "up_leg",
        "lower_legs": "low_leg",
    }
    for value, other in same.items():
        assert path(standard, value)[:2] == path(ours, other)[:2]
