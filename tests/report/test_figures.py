import math

import numpy as np
import pytest
import torch
from matplotlib import rcParams

from sfumato.report import Overlay, ReliabilityBin, ReportCase, ReportData, figures, pictures
from sfumato.report.data import ValueBin
from sfumato.report.runs import load_runs
from sfumato.report.style import pens
from sfumato.structures import REGIONS


def drawn(figure):
    with figures.styled():
        figure.draw_without_rendering()
    return figure


def test_bins_of_two_runs_are_weighted_by_their_voxels():
    first = ReliabilityBin(0.5, 1.0, 30, 0.6, 0.5)
    second = ReliabilityBin(0.5, 1.0, 10, 1.0, 0.9)
    empty = ReliabilityBin(0.0, 0.5, 0, math.nan, math.nan)
    data = ReportData(
        "t",
        (),
        reliability={"a-seed0-fold0": {"all": (empty, first)}, "a-seed1-fold0": {"all": (empty, second)}},
    )
    low, high = figures.pooled_bins(data, "all")["a"]
    assert (high.count, high.confidence, high.accuracy) == (40, pytest.approx(0.7), pytest.approx(0.6))
    assert low.count == 0
    assert math.isnan(low.accuracy)
    assert figures.pooled_bins(data, "boundary") == {}
    drawn(figures.reliability(data, "all"))


def test_outliers_follow_tukey_s_rule_and_need_four_cases():
    # Quartiles 2 and 4: the fences stand at -1 and 7.
    named = [("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)]
    assert figures.outliers([*named, ("e", 6.9)]) == []
    assert figures.outliers([*named, ("e", 7.1)]) == [("e", 7.1)]
    assert figures.outliers([("e", -1.1), *((case, value + 1) for case, value in named)]) == [("e", -1.1)]
    assert figures.outliers([("a", 1.0), ("b", 1.0), ("c", 99.0)]) == []


def test_outlier_is_named_in_the_drawing(made_up):
    values = [0.9, 0.91, 0.92, 0.93, 0.2]
    rows = [made_up.row(case=f"case_{index}", value=value) for index, value in enumerate(values)]
    figure = drawn(figures.case_strips(rows, "dice", ["a"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["4"]


def test_every_defined_case_has_its_mark(made_up):
    rows = [
        made_up.row(case=f"c{index}", metric="hd95", value=v) for index, v in enumerate([1, 2, math.nan, 4])
    ]
    figure = figures.case_strips(rows, "hd95", ["a"])
    marks = figure.axes[0].collections[-1].get_offsets()
    assert sorted(marks[:, 1].tolist()) == [1.0, 2.0, 4.0]
    assert "mm" in figure.axes[0].get_ylabel()


def test_common_start_ends_at_a_mark_between_words():
    assert figures.common_start(["hippocampus_001", "hippocampus_003"]) == "hippocampus_"
    assert figures.common_start(["case01", "case02"]) == ""
    assert figures.common_start(["only_one"]) == ""
    assert figures.common_start([]) == ""


def test_densities_enclose_an_area_of_one():
    data = ReportData("t", (), values={"a": (ValueBin(0.0, 0.25, 6), ValueBin(0.25, 1.0, 2))})
    figure = drawn(figures.value_distribution(data))
    values, edges, _ = figure.axes[0].patches[-1].get_data()
    assert (np.array(values) * np.diff(edges)).sum() == pytest.approx(1.0)


def test_threshold_band_spans_the_runs_and_the_mark_is_the_best_mean():
    sweeps = {"a-seed0-fold0": ((0.3, 0.5), (0.6, 0.9)), "a-seed1-fold0": ((0.3, 0.7), (0.6, 0.7))}
    axes = drawn(figures.thresholds(ReportData("t", (), thresholds=sweeps))).axes[0]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.8])
    assert (axes.lines[1].get_xdata()[0], axes.lines[1].get_ydata()[0]) == (0.6, pytest.approx(0.8))
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.5, pytest.approx(0.9))


def test_epochs_without_a_validation_are_left_out_of_the_curve(runs_folder):
    figure = drawn(figures.learning_curves(load_runs(runs_folder)))
    validation = next(line for line in figure.axes[1].lines if line.get_label() == "validation")
    # Epochs 0, 2 and 4 of the data.
    assert validation.get_xdata().tolist() == [1, 3, 5]
    assert len(figure.axes[0].lines) == 4


def curve(*dice):
    return tuple(
        {"epoch": float(epoch), "train_loss": 0.7, "val_loss": 0.5, "val_dice": value}
        for epoch, value in enumerate(dice)
    )


def test_epochs_are_counted_from_1_and_only_whole_ones_are_marked():
    histories = {"a-seed0-fold0": curve(0.1, 0.4), "b-seed0-fold0": curve(*np.linspace(0, 1, 140))}
    figure = drawn(figures.learning_curves(ReportData("t", (), histories=histories)))
    for axes, last in zip(figure.axes, (140, 2, 140), strict=True):
        low, high = axes.get_xlim()
        marks = [place for place in axes.get_xticks() if low <= place <= high]
        assert (low, high) == (0.5, last + 0.5)
        assert marks == [round(place) for place in marks]
        assert 1 <= min(marks) <= max(marks) <= last


def test_single_epoch_is_a_visible_point_in_the_middle_and_its_dice_has_the_whole_range():
    histories = {"a-seed0-fold0": curve(0.0), "b-seed0-fold0": curve(0.0)}
    figure = drawn(figures.learning_curves(ReportData("t", (), histories=histories)))
    top, loss, _ = figure.axes
    for axes in figure.axes:
        assert axes.get_xlim() == (0.5, 1.5)
        assert [place for place in axes.get_xticks() if 0.5 <= place <= 1.5] == [1]
    assert top.get_ylim() == (-0.02, 1.02)
    assert {line.get_marker() for line in loss.lines} == {"o"}


def test_history_without_a_finite_value_still_has_an_axis_of_epochs():
    histories = {"a-seed0-fold0": ({"epoch": 0.0, "train_loss": math.nan, "val_dice": math.nan},)}
    figure = drawn(figures.learning_curves(ReportData("t", (), histories=histories)))
    assert [axes.get_xlim() for axes in figure.axes] == [(0.5, 1.5)] * 2


def test_threshold_that_changes_nothing_is_not_magnified():
    flat = {"a-seed0-fold0": ((0.3, 0.0), (0.6, 0.0))}
    axes = drawn(figures.thresholds(ReportData("t", (), thresholds=flat))).axes[0]
    assert axes.get_ylim() == (-0.02, 1.02)
    rising = {"a-seed0-fold0": ((0.3, 0.5), (0.6, 0.6))}
    axes = drawn(figures.thresholds(ReportData("t", (), thresholds=rising))).axes[0]
    assert axes.get_ylim() == pytest.approx((0.495, 0.605))


def test_nothing_to_draw_gives_no_figure():
    empty = ReportData("t", ())
    assert figures.learning_curves(empty) is None
    assert figures.reliability(empty, "all") is None
    assert figures.value_distribution(empty) is None
    assert figures.thresholds(empty) is None
    assert figures.case_strips((), "dice", []) is None


def test_twenty_methods_have_twenty_pens():
    assert len(set(pens(f"m{index}" for index in range(20)).values())) == 20


def test_matplotlib_s_own_settings_stay_as_they_were():
    before = dict(rcParams)
    with figures.styled():
        pass
    assert dict(rcParams) == before


@pytest.mark.parametrize(("shape", "spacing"), [((9, 12, 5), (1.0, 0.8, 3.0)), ((9, 12), (1.0, 2.0))])
def test_case_is_drawn_in_two_and_three_dimensions(made_up, shape, spacing):
    case = made_up.case("c", shape=shape, spacing=spacing)
    figure = drawn(pictures.case_overlay(case, ("ce", "geols", "singr"), {0: "background", 1: "head"}))
    assert [axes.get_title(loc="left") for axes in figure.axes[:5]] == [
        "image",
        "reference",
        "ce",
        "geols",
        "singr",
    ]


def test_more_than_six_methods_take_a_second_pair_of_rows(made_up):
    case = made_up.case("c")
    several = {f"m{index}": case.predictions["ce"] for index in range(8)}
    wide = ReportCase("c", case.image, case.reference, case.spacing, several)
    titles = [
        axes.get_title(loc="left") for axes in drawn(pictures.case_overlay(wide, tuple(several), {})).axes
    ]
    assert len(titles) == 4 * 8
    assert titles[2 * 8 + 2] == "m6"


@pytest.mark.parametrize("fill", [0, 1])
def test_empty_and_full_references_are_drawn(fill):
    labels = torch.full((4, 5, 1), fill, dtype=torch.int64)
    overlay = Overlay(labels, torch.ones(1, 4, 5, 1), REGIONS)
    case = ReportCase("c", torch.zeros(1, 4, 5, 1), labels, (1.0, 1.0, 1.0), {"a": overlay})
    drawn(pictures.case_overlay(case, ("a",), {}))
    drawn(pictures.case_overlay(ReportCase("c", case.image, None, case.spacing, {}), ("a",), {}))


def test_raters_are_drawn_where_they_differ_most(made_up):
    panel = made_up.panel()
    figure = drawn(pictures.rater_panel(panel))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Ada", "Bo", "Cy"]
    box = figure.axes[0].patches[0]
    top, bottom = box.get_y() + 0.5, box.get_y() + 0.5 + box.get_height()
    assert top <= 14 <= bottom, "the raters part below row 14"


def test_volume_of_raters_is_shown_on_the_slice_where_they_differ(made_up):
    flat = made_up.panel()
    masks = torch.zeros(3, 24, 30, 4, dtype=torch.int64)
    masks[..., 2] = flat.labels_per_rater
    panel = type(flat)("v", torch.zeros(1, 24, 30, 4), masks, flat.rater_names, {})
    figure = drawn(pictures.rater_panel(panel))
    assert len(figure.axes[1].collections) == 3
