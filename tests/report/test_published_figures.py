"""The papers' figures show our numbers at their places, and the published ones as rings."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from scipy import stats

from sfumato.report.data import ReliabilityBin, ReportData, Section, ValueBin
from sfumato.report.document import write_report
from sfumato.report.published_figures import (
    alpha_sweep,
    centre_bars,
    paired_networks,
    pooled_values,
    reliability_panels,
    threshold_panels,
    value_panels,
)
from sfumato.reproduction.experiments import experiment
from sfumato.reproduction.side_by_side import Ours, side_by_side
from sfumato.tables.table import record_table


def cells(name, number=lambda cell: 50.0):
    """An experiment's cells with made-up numbers of ours."""
    return [
        dataclasses.replace(cell, ours=Ours(number(cell), 1.0, "std_over_runs", 3))
        for cell in side_by_side(experiment(name), {})
    ]


def ring(axes):
    """The places of the published numbers."""
    found = [each for each in axes.collections if isinstance(each, PathCollection)]
    return [tuple(map(float, place)) for each in found for place in each.get_offsets()]


def test_alpha_sweep_has_a_line_per_data_set_and_rings_at_the_published_numbers():
    figure = alpha_sweep(
        cells("geols-figure3", lambda cell: 80 + 10 * cell.training.label.options.get("alpha", 0.0))
    )
    dice, distance = figure.axes
    lines = [container.lines[0] for container in dice.containers]
    assert [list(line.get_xdata()) for line in lines] == [[0.0, 0.05, 0.1, 0.2, 0.3]] * 2
    assert list(lines[0].get_ydata()) == pytest.approx([80, 80.5, 81, 82, 83])
    # The paper lost the average Dice of CE on BraTS; everything else at 0 and 0.1 is printed.
    assert sorted(ring(dice)) == [(0.0, 89.39), (0.1, 82.27), (0.1, 90.16)]
    assert sorted(ring(distance)) == [(0.0, 4.2), (0.0, 9.49), (0.1, 3.12), (0.1, 8.78)]


def undefined_distances(cell):
    return math.nan if cell.metric.startswith("HD") else 3.0


def test_panel_of_published_numbers_alone_has_all_factors_and_their_range():
    dice, distance = alpha_sweep(cells("geols-figure3", undefined_distances)).axes
    assert dice.get_xlim() == distance.get_xlim() == pytest.approx((-0.015, 0.315))
    low, high = distance.get_ylim()
    assert 2 < low < 3.12 < 9.49 < high < 11


def test_rings_have_room_where_no_bar_stands():
    figure = paired_networks(cells("singr-figure3", undefined_distances))
    distance = figure.axes[1]
    low, high = distance.get_ylim()
    highest = max(value for _, value in ring(distance))
    assert (low, high) == (0, pytest.approx(1.08 * highest))


def test_panel_without_any_number_has_an_ordinary_range():
    lone = [
        dataclasses.replace(cell, published=None) if cell.metric.startswith("HD") else cell
        for cell in cells("singr-figure3", undefined_distances)
    ]
    figure = paired_networks(lone)
    distance = figure.axes[1]
    assert distance.get_ylim() == (0, 1)


def test_pairs_stand_side_by_side_per_network():
    figure = paired_networks(
        cells("singr-figure3", lambda cell: 80.0 if cell.training.method == "singr" else 70.0)
    )
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes if axes.axison] == [
        "BraTS 2020: Dice",
        "BraTS 2020: HD95",
        "LGG FLAIR: IoU",
        "LGG FLAIR: Dice",
        "LGG FLAIR: HD95",
    ]
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_xticklabels()] == ["UNet3D", "NestedFormer", "Swin-UNETR"]
    assert [bar.get_height() for bar in first.patches] == [70.0] * 3 + [80.0] * 3
    # Hard labels of all three; SiNGR with Swin-UNETR from table 1, with UNet3D from table 3.
    assert sorted(value for _, value in ring(first)) == [86.5, 86.7, 86.9, 87.9, 88.1]


def test_reliability_has_a_column_per_data_set_and_leaves_empty_bins_out():
    bins = [ReliabilityBin(0.0, 0.5, 0, math.nan, math.nan), ReliabilityBin(0.5, 1.0, 40, 0.8, 0.6)]
    figure = reliability_panels({"A": {"One-hot": bins}, "B": {"SVLS": bins, "LS": bins}, "C": {}})
    assert len(figure.axes) == 4
    upper, lower = figure.axes[0], figure.axes[2]
    assert [list(line.get_ydata()) for line in upper.lines] == [[1.0]]
    assert list(lower.lines[1].get_xdata()) == [0.8]
    assert list(lower.lines[1].get_ydata()) == [0.6]
    assert reliability_panels({"C": {}}) is None


def test_threshold_panels_show_the_mean_and_each_trainings_best():
    figure = threshold_panels({"a": [{0.1: 0.5, 0.5: 0.9}, {0.1: 0.7, 0.5: 0.6}], "b": []})
    (axes,) = figure.axes
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.6, 0.75])
    assert sorted(map(tuple, axes.collections[1].get_offsets().tolist())) == [(0.1, 0.7), (0.5, 0.9)]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(map(float, place)) for place in band} == {(0.1, 0.5), (0.1, 0.7), (0.5, 0.6), (0.5, 0.9)}
    assert threshold_panels({}) is None


def test_dice_of_one_value_in_all_panels_has_the_whole_range():
    figure = threshold_panels({"a": [{0.1: 0.0, 0.5: 0.0}], "b": [{0.5: 0.0}]})
    assert [axes.get_ylim() for axes in figure.axes] == [(-0.02, 1.02)] * 2
    figure = threshold_panels({"a": [{0.1: 0.4, 0.5: 0.4}], "b": [{0.1: 0.2, 0.5: 0.2}]})
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() == pytest.approx((0.19, 0.41))


def histogram(values):
    counts, edges = np.histogram(values, np.linspace(0, 1, 101).round(2))
    return [ValueBin(low, high, int(n)) for low, high, n in zip(edges, edges[1:], counts, strict=False)]


def test_values_are_scipys_density_of_what_is_above_a_hundredth():
    draw = np.random.default_rng(0)
    # On the middles of the bins a histogram loses nothing.
    values = np.floor(np.concatenate([draw.beta(2, 5, 3000), draw.beta(9, 1, 2000)]) * 100) / 100 + 0.005
    zeros = np.full(90_000, 0.005)
    runs = [histogram(np.concatenate([values[:2500], zeros])), histogram(values[2500:])]
    pooled = pooled_values(runs)
    assert sum(each.count for each in pooled) == 95_000
    figure = value_panels({"SCGM": {"a": pooled}, "MS": {"a": histogram(zeros)}})
    (axes,) = figure.axes
    places, density = axes.lines[0].get_data()
    kept = values[values > 0.01]
    assert len(kept) < len(values)
    np.testing.assert_allclose(density, stats.gaussian_kde(kept)(places), rtol=2e-3, atol=1e-6)
    assert np.trapezoid(density, places) == pytest.approx(1.0, abs=0.01)
    assert value_panels({"MS": {"a": histogram(zeros)}}) is None


def test_values_of_one_kind_are_as_wide_as_a_bin():
    figure = value_panels({"SCGM": {"a": histogram(np.full(5000, 0.505))}})
    places, density = figure.axes[0].lines[0].get_data()
    assert places[density.argmax()] == pytest.approx(0.505, abs=0.003)
    assert np.trapezoid(density, places) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(density, stats.norm(0.505, 0.01).pdf(places), atol=1e-9)


def test_centres_have_a_colour_per_candidate():
    figure = centre_bars({"a": {0: 80.0}, "b": {0: 90.0}}, {0: 86.2, 1: 81.2})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [80.0, 90.0]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["centre 1", "centre 2"]
    assert centre_bars({}) is None


def test_without_a_number_of_ours_nothing_is_drawn():
    assert alpha_sweep(side_by_side(experiment("geols-figure3"), {})) is None
    assert paired_networks(side_by_side(experiment("singr-figure3"), {})) is None


def test_section_with_a_table_and_a_figure_stands_on_the_page(tmp_path):
    figure = threshold_panels({"a": [{0.1: 0.5, 0.5: 0.9}]})
    section = Section(
        "Published & ours",
        "Text.",
        (record_table("Dice <%>", [{"Training": "a", "Ours": "1.0"}]),),
        (("fig", "Dice", figure),),
    )
    page = write_report(
        ReportData("Title", rows=(), sections=(section,)), tmp_path / "report.html"
    ).read_text()
    assert "<h2>Published &amp; ours</h2>" in page
    assert "Dice &lt;%&gt;" in page
    assert '<figure id="fig"><img src="data:image/svg+xml;base64,' in page
    assert (tmp_path / "figures" / "fig.png").exists()
