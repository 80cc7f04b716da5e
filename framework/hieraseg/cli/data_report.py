"""The report of `hieraseg data` as JSON and as text."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from hieraseg.cli.layout import align_columns, format_table, visible

if TYPE_CHECKING:
    from hieraseg.data.survey import Survey
    from hieraseg.inspect_data import DataReport

_SHOWN = 5  # pairs of images; JSON has all
_SHOWN_LABELS = 50
_UNITS = ("", "k", "M", "G", "T")


def as_json(report: "DataReport") -> dict[str, Any]:
    """The report as JSON values.

    * `ok`: whether training and evaluation can use the data; `problems` and `warnings`: sentences.
    * `splits`: by name, `images` (number of ids), `sizes` (`width`, `height` and number of
      `images` of each, the most frequent first), `pixels` of the masks, of which `void_pixels`
      are ignored on all levels, and `levels`: `level`, `ignored_pixels`, and by name `classes`
      with `pixels`, their `share` of the split's, and number of `images`.
    * `bad_files`: `split`, `id` and `problem` of each image and mask that cannot be used.
    * `unknown_labels`: `split`, `value`, `pixels`, `images`, and the `first` id that has it.
    * `duplicates`: two `splits`, or one twice, and pairs of ids whose images are the `same` or
      look `alike`; the second of a pair is in the second split.
    """
    surveys = report.surveys.items()
    return {
        "ok": not report.problems,
        "problems": list(report.problems),
        "warnings": list(report.warnings),
        "splits": {split: _split_as_json(report, survey) for split, survey in surveys},
        "bad_files": [
            {"split": split, **bad._asdict()}
            for split, survey in surveys
            for bad in survey.bad_files
        ],
        "unknown_labels": [
            {"split": split, "value": value, **vars(label)}
            for split, survey in surveys
            for value, label in sorted(survey.labels.unknown.items())
        ],
        "duplicates": [
            {"splits": list(splits), "same": found.same, "alike": found.alike}
            for splits, found in report.duplicates.items()
        ],
    }


def _split_as_json(report: "DataReport", survey: "Survey") -> dict[str, Any]:
    levels = zip(report.hierarchy.level_names, survey.labels.levels, strict=True)
    return {
        "images": survey.images,
        "sizes": [
            {"width": width, "height": height, "images": images}
            for height, width, images in _sizes(survey)
        ],
        "pixels": survey.labels.pixels,
        "void_pixels": survey.labels.void_pixels,
        "levels": [
            {
                "level": level,
                "ignored_pixels": counts.ignored_pixels,
                "classes": {
                    name: {
                        "pixels": pixels,
                        "share": pixels / max(survey.labels.pixels, 1),
                        "images": images,
                    }
                    for name, pixels, images in zip(
                        names, counts.pixels.tolist(), counts.images.tolist(), strict=True
                    )
                },
            }
            for level, (names, counts) in enumerate(levels, 1)
        ],
    }


def _sizes(survey: "Survey") -> list[list[int]]:
    """Height, width and number of images of each size, the most frequent first."""
    sizes, images = np.unique(survey.shapes, axis=0, return_counts=True)
    order = np.argsort(-images, kind="stable")
    return np.column_stack([sizes, images])[order].tolist()


def as_text(report: "DataReport") -> str:
    """The report for people to read."""
    parts = []
    if report.surveys:
        parts = [_split_table(report)]
        parts += [_class_table(report, level) for level in range(report.hierarchy.num_levels)]
    parts += [*_bad_files(report), *_unknown_labels(report), *_duplicates(report)]
    for title, sentences in (("warnings", report.warnings), ("problems", report.problems)):
        if sentences:
            parts.append(f"{title}:\n" + align_columns([["", one] for one in sentences]))
    verdict = "training or evaluation would fail" if report.problems else "the data can be used"
    return "\n\n".join([*parts, verdict])


def _split_table(report: "DataReport") -> str:
    header = ["split", "images", "sizes", "width", "height", "width / height", "void %"]
    rows = []
    for split, survey in report.surveys.items():
        height, width = survey.shapes.T
        rows.append(
            [
                split,
                f"{survey.images:,}",
                f"{len(_sizes(survey)):,}",
                _spread(width, "{:.0f}"),
                _spread(height, "{:.0f}"),
                _spread(width / height, "{:.2f}"),
                _percent(survey.labels.void_pixels, survey.labels.pixels),
            ]
        )
    return format_table(header, rows, "images, with minimum/median/maximum of their sizes")


def _spread(values: Float[np.ndarray, " N"] | Int[np.ndarray, " N"], form: str) -> str:
    """Minimum, median and maximum, or the only value."""
    if not len(values):
        return "-"
    found = [form.format(one) for one in (values.min(), np.median(values), values.max())]
    return found[0] if len(set(found)) == 1 else "/".join(found)


def _class_table(report: "DataReport", level: int) -> str:
    header = [f"level {level + 1}"]
    for split in report.surveys:
        header += [f"{split} pixels", f"{split} %", f"{split} images"]
    rows = [[name] for name in [*report.hierarchy.level_names[level], "(ignored)"]]
    for survey in report.surveys.values():
        counts, total = survey.labels.levels[level], survey.labels.pixels
        pixels = [*counts.pixels.tolist(), counts.ignored_pixels]
        images = [*map("{:,}".format, counts.images.tolist()), ""]
        for row, number, of_images in zip(rows, pixels, images, strict=True):
            row += [_short(number), _percent(number, total), of_images]
    if not any(one.labels.levels[level].ignored_pixels for one in report.surveys.values()):
        rows.pop()
    optional = [heading for heading in header if heading.endswith(" pixels")]
    return format_table(header, rows, optional=optional)


def _percent(part: int, whole: int) -> str:
    """A share in percent; not `0.00` unless it is none."""
    if not part:
        return "0"
    percent = f"{100 * part / whole:.2f}"
    return "<0.01" if percent == "0.00" else percent


def _short(number: int) -> str:
    """A count as in `41.1M`."""
    power = min((len(str(number)) - 1) // 3, len(_UNITS) - 1)
    return f"{number / 1000**power:.1f}{_UNITS[power]}" if power else str(number)


def _bad_files(report: "DataReport") -> Iterator[str]:
    lines = [
        f"  {visible(bad.problem)}"
        for survey in report.surveys.values()
        for bad in survey.bad_files
    ]
    if lines:
        yield "\n".join([f"files that cannot be used: {len(lines):,}", *lines])


def _unknown_labels(report: "DataReport") -> Iterator[str]:
    rows = [
        [split, str(value), f"{label.pixels:,}", f"{label.images:,}", label.first]
        for split, survey in report.surveys.items()
        for value, label in sorted(survey.labels.unknown.items())
    ]
    if rows:
        header = ["split", "label", "pixels", "images", "first image"]
        title = f"labels that the hierarchy does not have: {len(rows):,}"
        yield format_table(header, rows[:_SHOWN_LABELS], title) + _more(rows, _SHOWN_LABELS)


def _duplicates(report: "DataReport") -> Iterator[str]:
    for (first, second), found in report.duplicates.items():
        others = "others of it" if first == second else f"images of {first}"
        for how, pairs in (("are the same as", found.same), ("look like", found.alike)):
            if pairs:
                title = f"images of {second} that {how} {others}: {len(pairs):,}"
                lines = [f"  {visible(one.second)}  {visible(one.first)}" for one in pairs]
                yield "\n".join([title, *lines[:_SHOWN]]) + _more(lines, _SHOWN)


def _more(items: Sequence[Any], shown: int) -> str:
    rest = len(items) - shown
    return f"\n  ... and {rest:,} more, which --json has" if rest > 0 else ""
