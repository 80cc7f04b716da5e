"""Class trees of public data sets. Each is in the YAML file of the same name."""

from pathlib import Path

from hieraseg import Hierarchy

_FOLDER = Path(__file__).parent


def ade20k() -> Hierarchy:
    """ADE20K scene parsing, two levels of 2/150 classes: stuff and objects > classes.

    Label values are those of the scene parsing benchmark's annotations: 1 to 150, and 0 (void) for
    other objects. There are 35 stuff and 115 object classes. The instance segmentation task on the
    same images has 100 object classes.

    Source: Zhou et al. 2016, "Semantic Understanding of Scenes through the ADE20K Dataset",
    arXiv:1608.05442, and https://github.com/CSAILVision/sceneparsing.
    """
    return Hierarchy.from_file(_FOLDER / "ade20k.yaml")


def camvid() -> Hierarchy:
    """CamVid, three levels of 4/11/31 classes: groups > the 11 classes of SegNet > classes.

    Masks of the data set are colors. Label values are the lines of its `label_colors.txt`, 0 to 31,
    as in fast.ai's gray copy of the masks; 30 (Void) is void.

    Source: Brostow et al. 2009, "Semantic Object Classes in Video: A High-Definition Ground Truth
    Database", doi:10.1016/j.patrec.2008.04.005. The 11 classes are those of SegNet,
    arXiv:1511.00561. The groups are the paper's as far as they nest with them.
    """
    return Hierarchy.from_file(_FOLDER / "camvid.yaml")


def cityscapes() -> Hierarchy:
    """Cityscapes, two levels of 7/19 classes: groups > the classes that are evaluated.

    Label values are the ids 0 to 33 of the `labelIds` masks, not train ids. The 15 ids that the
    evaluation ignores are void. The train ids are the indices of the leaves.

    Source: Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding",
    arXiv:1604.01685, and https://github.com/mcordts/cityscapesScripts.
    """
    return Hierarchy.from_file(_FOLDER / "cityscapes.yaml")


def coco_stuff() -> Hierarchy:
    """COCO-Stuff, three levels of 2/27/171 classes: things and stuff > groups > classes.

    Label values are those of the `stuffthingmaps` masks: the class id minus one, 0 to 181 with 11
    gaps, and 255 for void. The published tree has one more level, with four indoor and outdoor
    groups below things and stuff.

    Source: Caesar et al. 2018, "COCO-Stuff: Thing and Stuff Classes in Context", arXiv:1612.03716,
    and https://github.com/nightrome/cocostuff.
    """
    return Hierarchy.from_file(_FOLDER / "coco_stuff.yaml")


def lip() -> Hierarchy:
    """Look into Person (LIP), three levels of 2/3/20 classes: body > upper and lower body > parts.

    Label values are those of the data set's masks, 0 to 19. Horizontal flips swap left and right
    arms, legs and shoes.

    Source: Gong et al. 2017, "Look into Person: Self-supervised Structure-sensitive Learning and a
    New Benchmark for Human Parsing", arXiv:1703.05446. The tree is from Li et al. 2022,
    arXiv:2203.14335.
    """
    return Hierarchy.from_file(_FOLDER / "lip.yaml")


def mapillary_vistas_v2() -> Hierarchy:
    """Mapillary Vistas 2.0, four levels of 8/44/109/116 classes: the paths of its class names.

    Label values are those of the v2.0 `labels` masks, 0 to 123. The 8 classes that are not
    evaluated (ambiguous, crowds and unlabeled) are void. Horizontal flips swap left and right
    arrows on the road.

    Source: Neuhold et al. 2017, "The Mapillary Vistas Dataset for Semantic Understanding of Street
    Scenes", and the data set's `config_v2.0.json`.
    """
    return Hierarchy.from_file(_FOLDER / "mapillary_vistas_v2.yaml")


def pascal_part_58() -> Hierarchy:
    """Pascal-Part-58, two levels of 21/58 classes: the objects of Pascal VOC > their parts.

    Label values are 0 to 57, ordered by object, and 255 for void.

    Source: Zhao et al. 2019, "Multi-Class Part Parsing with Joint Boundary-Semantic Awareness",
    ICCV. The order of the labels is from https://github.com/LTTM/GMNet.
    """
    return Hierarchy.from_file(_FOLDER / "pascal_part_58.yaml")


def pascal_part_108() -> Hierarchy:
    """Pascal-Part-108, two levels of 21/108 classes: the objects of Pascal VOC > their parts.

    Label values are 0 to 107, ordered by object, and 255 for void. Left and right parts are one
    class, and so are front and back parts.

    Source: Michieli et al. 2020, "GMNet: Graph Matching Network for Large Scale Part Semantic
    Segmentation in the Wild", arXiv:2007.09073, and https://github.com/LTTM/GMNet.
    """
    return Hierarchy.from_file(_FOLDER / "pascal_part_108.yaml")


def pascal_person_part() -> Hierarchy:
    """Pascal-Person-Part, three levels of 2/3/7 classes: body > upper and lower body > parts.

    Label values are those of most published code: 0 background, 1 head, 2 torso, 3 upper arms, 4
    lower arms, 5 upper legs, 6 lower legs, and 255 for void. The tree is the same as that of
    `pascal_part`, but the labels have another order: masks in a `folder` of one data set with the
    hierarchy of the other train the wrong tree, and no error is raised.

    Source: Chen et al. 2014, "Detect What You Can: Detecting and Representing Objects using
    Holistic Models and Body Parts", arXiv:1406.2031. The tree is from Li et al. 2022,
    arXiv:2203.14335.
    """
    return Hierarchy.from_file(_FOLDER / "pascal_person_part.yaml")
