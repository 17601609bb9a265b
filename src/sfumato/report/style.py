"""Colours and type of the figures: safe for colour-blind readers, and told apart in black and white."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Okabe and Ito (2008), Color universal design; its yellow is left out, being too light for lines on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Structures lie over grey images: the palette's light colours, in the order in which they differ most.
LABEL_COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
MARKERS = "osD^vPX"
DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)))
INK, MUTED, RULE = "#1d2430", "#5b6472", "#d9dde3"

SETTINGS: Mapping[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.7,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "sfumato",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Pen:
    """How one method is drawn: colour, marker and dash differ together."""

    colour: str
    marker: str
    dash: Any  # a name, or (offset, pattern)


def pens(methods: Iterable[str]) -> dict[str, Pen]:
    """Assign every method its pen; the seven colours come round with another dash."""
    return {
        method: Pen(
            OKABE_ITO[index % len(OKABE_ITO)],
            MARKERS[index % len(MARKERS)],
            DASHES[index // len(OKABE_ITO) % len(DASHES)],
        )
        for index, method in enumerate(methods)
    }


def label_colour(label: int) -> str:
    """Return the colour of a foreground class, from 1."""
    return LABEL_COLOURS[(label - 1) % len(LABEL_COLOURS)]
