"""``sfumato check``: read a whole data set and list everything that is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sfumato.cli.console import wide_console
from sfumato.cli.options import DatasetLayout
from sfumato.data import Dataset, Inspection, inspect_dataset
from sfumato.errors import DataError


def check(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder of a public data set or in nnU-Net or BIDS layout, CSV manifest, folder of images, "
            "or sample:NAME."
        ),
    ],
    layout: DatasetLayout = "auto",
) -> None:
    """Read every file of DATA, print what it holds, and list every problem; status 2 if there is one."""
    console = wide_console()
    with console.status("reading …") as status:
        seen = inspect_dataset(
            data, layout=layout, progress=lambda done, of: status.update(f"reading {done} of {of} cases")
        )
    if seen.dataset is not None:
        _print_summary(console, seen, seen.dataset)
    for warning in seen.warnings:
        console.print(f"note: {escape(warning)}", highlight=False, soft_wrap=True)
    if seen.problems:
        raise DataError(seen.problems)
    console.print("no problems found")


def _print_summary(console: Console, seen: Inspection, dataset: Dataset) -> None:
    table = Table(title=f"Data set {escape(dataset.name)}", show_header=False)
    if dataset.expected_cases is not None:
        table.add_row("cases", f"found {len(dataset.cases)} of {dataset.expected_cases} expected")
    readable = f"{sum(seen.shapes.values())} readable of {len(dataset.cases)}"
    table.add_row("cases" if dataset.expected_cases is None else "", readable)
    table.add_row("channels", escape(", ".join(dataset.channel_names)))
    table.add_row("spacing, mm", _counted({_times(key): count for key, count in seen.spacings.items()}))
    sizes = sorted(seen.shapes)
    if sizes and len({len(shape) for shape in sizes}) == 1:
        low, high = (tuple(pick(side) for side in zip(*sizes, strict=True)) for pick in (min, max))
        table.add_row("voxels", _times(low) if low == high else f"{_times(low)} to {_times(high)}")
    table.add_row("raters", _counted({str(key or 1): count for key, count in seen.raters.items()}))
    if dataset.regions:
        table.add_row("regions", escape(", ".join(dataset.regions)))
    console.print(table)
    if not seen.voxels:
        return
    labels = Table("label", "name", "cases", "voxels", title="Labels")
    for label, name in dataset.label_names.items():
        labels.add_row(str(label), escape(name), str(seen.cases_with_label[label]), f"{seen.voxels[label]:,}")
    console.print(labels)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _counted(counts: dict[str, int]) -> str:
    rows = [f"{key} ({count} cases)" for key, count in sorted(counts.items())]
    return "\n".join(rows[:5] + ([f"and {len(rows) - 5} more"] if len(rows) > 5 else []))
