"""The class tree of Pascal-Part's persons."""

from hieraseg import Hierarchy


def pascal_part() -> Hierarchy:
    """Persons of Pascal-Part, three levels of 2/3/7 classes: body > upper and lower body > parts.

    Label values are those of the data set's masks, 0 to 6. The parts of the upper body are 1, 2,
    4 and 6.

    Source: Chen et al. 2014, "Detect What You Can: Detecting and Representing Objects using
    Holistic Models and Body Parts", arXiv:1406.2031, with the parts merged to six.
    """
    return Hierarchy.from_tree(
        {
            "background": None,
            "body": {
                "upper_body": ["low_hand", "torso", "head", "up_hand"],
                "lower_body": ["low_leg", "up_leg"],
            },
        },
        labels=["background", "low_hand", "torso", "low_leg", "head", "up_leg", "up_hand"],
        background="background",
    )
