"""Numbers beside the published ones, checked by hand: averages, kinds of spread, units, gaps."""

import csv
import dataclasses
import io
import math

import pytest

from sfumato.evaluation.rows import Row
from sfumato.reproduction.experiments import experiment
from sfumato.reproduction.side_by_side import Ours, side_by_side
from sfumato.reproduction.tables import (
    caption,
    csv_text,
    gaps,
    latex_text,
    markdown_text,
    side_by_side_tables,
)


def value(method, metric, structure, number, *, seed=0, fold=0, case="a", status="ok"):
    structure, _, rater = structure.partition("@")
    unit = "mm" if metric == "hd95" else "fraction"
    return Row("", method, "data", seed, fold, case, rater, structure, metric, number, unit, status)


def cell(cells, training, metric, structure, dataset=None):
    (found,) = (
        each
        for each in cells
        if (each.training.name, each.metric, each.structure) == (training, metric, structure)
        and dataset in (None, each.part.dataset)
    )
    return found


def lines_of(cells):
    (table,) = side_by_side_tables(cells)
    return [tuple(cell.plain for cell in row) for row in table.rows]


def ours(cells, *place):
    found = cell(cells, *place).ours
    return found.mean, found.spread, found.spread_kind, found.count


def test_spread_over_runs_is_that_of_the_runs_means_over_cases():
    # Seed 0: cases 0.70 and 0.72, mean 71 %; seed 1: 0.74 and 0.76, mean 75 %. Deviation of 71 and 75: 2.828.
    numbers = {(0, "a"): 0.70, (0, "b"): 0.72, (1, "a"): 0.74, (1, "b"): 0.76}
    rows = [value("CE", "dice", "ET", number, seed=s, case=c) for (s, c), number in numbers.items()]
    cells = side_by_side(experiment("geols-table1"), {"brats2019": rows})
    assert ours(cells, "CE", "DSC", "ET") == pytest.approx((73.0, math.sqrt(8.0), "std_over_runs", 2))
    found = cell(cells, "CE", "DSC", "ET")
    assert (found.published.mean, found.published.spread) == ("72.05", "2.14")
    assert found.difference == pytest.approx(0.95)
    assert found.within is True


def test_average_over_structures_is_taken_within_each_run():
    # The regions' means are 0.6, 0.9, 0.9 in seed 0 and 0.8, 0.7, 0.9 in seed 1: both average 80 %, spread 0.
    table = {0: (0.6, 0.9, 0.9), 1: (0.8, 0.7, 0.9)}
    rows = [
        value("CE", "surface_dice", name, number, seed=seed)
        for seed, numbers in table.items()
        for name, number in zip(("ET", "TC", "WT"), numbers, strict=True)
    ]
    cells = side_by_side(experiment("geols-table1"), {"brats2019": rows})
    assert ours(cells, "CE", "SD", "Average") == pytest.approx((80.0, 0.0, "std_over_runs", 2), abs=1e-9)
    assert cell(cells, "CE", "SD", "Average").within is False  # 84.12 ± 1.77


def test_millimetres_stay_and_undefined_values_are_counted():
    rows = [value("CE", "hd95", "ET", 14.0, case="a"), value("CE", "hd95", "ET", 16.0, case="b")]
    rows += [value("CE", "hd95", "ET", math.nan, case="c", status="empty_prediction")]
    cells = side_by_side(experiment("geols-table1"), {"brats2019": rows})
    found = cell(cells, "CE", "HD", "ET")
    assert (found.ours.mean, found.ours.count, found.ours.undefined) == (15.0, 1, 1)
    assert math.isnan(found.ours.spread)
    assert ("ET", "CE", "14.55 ± 1.61", "15.00 (1 undefined)", "1", "+0.45", "yes") in lines_of([found])


def test_standard_error_is_the_deviation_over_the_root_of_the_runs():
    # Runs 0.80, 0.82, 0.84, 0.86: deviation 2.582, standard error 1.291.
    rows = [value("UNet3D", "dice", "abnormality", 0.8 + 0.02 * k, seed=k) for k in range(4)]
    cells = side_by_side(experiment("singr-table2"), {"lgg": rows})
    expected = (83.0, math.sqrt(20.0 / 3.0) / 2.0, "standard_error", 4)
    assert ours(cells, "UNet3D", "Dice", "Abnormality") == pytest.approx(expected)


def test_spread_over_cases_and_its_mean_where_structures_are_averaged():
    # Kidney 0.90, 0.94: 0.92 ± 0.0283; tumour 0.40, 0.60: 0.50 ± 0.1414. "Comp" is the mean of the two rows.
    table = {("a", "kidney"): 0.90, ("b", "kidney"): 0.94, ("a", "tumour"): 0.40, ("b", "tumour"): 0.60}
    rows = [
        value("SVLS", "dice", structure, number, case=case) for (case, structure), number in table.items()
    ]
    cells = side_by_side(experiment("svls-table1"), {"kits2019": rows})
    kidney, tumour = math.sqrt(0.0008), math.sqrt(0.02)
    assert ours(cells, "SVLS", "DSC", "Kidney") == pytest.approx((0.92, kidney, "std_over_cases", 2))
    assert ours(cells, "SVLS", "DSC", "Comp") == pytest.approx(
        (0.71, (kidney + tumour) / 2, "std_over_cases", 2)
    )


def test_calibration_is_averaged_over_cases_and_has_no_spread():
    rows = [
        value("SVLS", "ece_foreground", "all@rater2", number, case=c)
        for c, number in (("a", 0.06), ("b", 0.08))
    ]
    rows += [
        value("mSVLS", *row)
        for row in (("ece_foreground", "all@rater2", 0.06), ("dice", "nodule@rater2", 0.7))
    ]
    cells = side_by_side(experiment("svls-table2"), {"lidc": rows})
    mean, spread, kind, count = ours(cells, "mSVLS", "ECE", "Set 2")
    assert (mean, kind, count) == (pytest.approx(0.06), "none", 1)
    assert math.isnan(spread)
    assert cell(cells, "mSVLS", "ECE", "Set 2").within is None
    assert ours(cells, "mSVLS", "DSC", "Set 2")[0] == pytest.approx(0.7)
    assert cell(cells, "mSVLS", "DSC", "Set 1").missing


def test_pooled_spread_is_over_all_cases_of_all_trainings():
    # Values 0.5, 0.7, 0.6, 0.8: mean 0.65, deviation 0.1291.
    rows = [
        value("Soft-ReLU-Wing", "dice", "TC", number, seed=seed, case=case)
        for seed, case, number in ((0, "a", 0.5), (0, "b", 0.7), (1, "b", 0.6), (1, "c", 0.8))
    ]
    cells = side_by_side(experiment("softseg-table5"), {"brats2019": rows})
    expected = (65.0, math.sqrt(500.0 / 3.0), "std_over_runs_and_cases", 4)
    assert ours(cells, "Soft-ReLU-Wing", "Dice", "Tumor core") == pytest.approx(expected)


def test_folds_and_seeds_are_runs_of_their_own():
    rows = [
        value("Soft-ReLU-Wing", "dice", "gray matter", 0.8 + 0.02 * fold + 0.01 * seed, seed=seed, fold=fold)
        for seed in range(2)
        for fold in range(4)
    ]
    cells = side_by_side(experiment("softseg-table3"), {"scgm": rows})
    mean, spread, _, count = ours(cells, "Soft-ReLU-Wing", "Dice", "Gray matter")
    numbers = [80 + 2 * fold + seed for seed in range(2) for fold in range(4)]
    centre = sum(numbers) / 8
    assert (mean, count) == (pytest.approx(centre), 8)
    assert spread == pytest.approx(math.sqrt(sum((number - centre) ** 2 for number in numbers) / 7))


def test_twin_with_a_temperature_is_not_mixed_in():
    rows = [value("CE", "dice", "ET", 0.7), value("CE+T", "dice", "ET", 0.1)]
    cells = side_by_side(experiment("geols-table1"), {"brats2019": rows})
    assert cell(cells, "CE", "DSC", "ET").ours.mean == pytest.approx(70.0)


def test_number_that_the_paper_lost_is_shown_without_a_partner():
    rows = [value("CE", "dice", name, 0.8) for name in ("ET", "TC", "WT")]
    found = cell(side_by_side(experiment("geols-table1"), {"brats2019": rows}), "CE", "DSC", "Average")
    assert found.published is None
    assert (found.ours.mean, found.within) == (pytest.approx(80.0), None)
    assert ("Average", "CE", "–", "80.00", "1", "", "") in lines_of([found])


@pytest.mark.parametrize(("mean", "within"), [(74.19, True), (74.2, False), (69.91, True), (69.9, False)])
def test_difference_as_large_as_the_spread_is_within(mean, within):
    template = cell(side_by_side(experiment("geols-table1"), {}), "CE", "DSC", "ET")  # 72.05 ± 2.14
    found = dataclasses.replace(template, ours=Ours(mean, 1.0, "std_over_runs", 3))
    assert found.within is within


def test_cells_without_a_number_are_counted_and_named():
    rows = [value("CE", "dice", "ET", 0.7)]
    lines = gaps(side_by_side(experiment("geols-table1"), {"brats2019": rows}))
    assert len(lines) == 1
    start = "BraTS 2019: 59 of 60 cells are missing: LS, FL, SVLS, GeoLS (no finished run); "
    assert lines[0].startswith(start + "DSC TC (not in metrics.csv) of CE; ")
    why = {("brats2019", "FL"): "failed", ("brats2019", "GeoLS"): "failed", ("brats2019", "CE"): "absurd"}
    cells = side_by_side(experiment("geols-table1"), {"brats2019": rows}, absent=why)
    start = "BraTS 2019: 59 of 60 cells are missing: LS, SVLS (no finished run); FL, GeoLS (failed); DSC TC "
    assert gaps(cells)[0].startswith(start)
    lines = list(csv.DictReader(io.StringIO(csv_text(cells))))
    missing = {(line["training"], line["metric"], line["structure"]): line["missing"] for line in lines}
    assert missing["CE", "DSC", "ET"] == ""
    assert missing["CE", "DSC", "TC"] == "not in metrics.csv"
    assert {missing["FL", "DSC", "ET"], missing["GeoLS", "HD", "WT"]} == {"failed"}
    assert gaps(side_by_side(experiment("geols-table3"), {}))[1].startswith("FLARE 2021: 10 of 10")


def test_tables_hold_the_same_numbers_in_every_form():
    rows = [
        value("Soft-ReLU-Wing", "rvd", "gray matter", number, case=c)
        for c, number in (("a", -0.05), ("b", 0.01))
    ]
    cells = side_by_side(experiment("softseg-table3"), {"scgm": rows})
    lines = list(csv.DictReader(io.StringIO(csv_text(cells))))
    assert len(lines) == len(cells)
    (line,) = (
        each
        for each in lines
        if each["training"] == "Soft-ReLU-Wing" and each["metric"].startswith("Relative")
    )
    assert (line["published"], line["published_spread"], line["published_spread_kind"]) == (
        "-1.6",
        "19.9",
        "std_over_runs",
    )
    assert float(line["ours"]) == pytest.approx(-2.0)
    assert float(line["difference"]) == pytest.approx(-0.4)
    assert (line["within"], line["n"], line["ours_spread"]) == ("yes", "1", "")
    page = markdown_text("Title", cells, ["a | note"])
    assert "| Soft-ReLU-Wing | -1.6 ± 19.9 | -2.0 | 1 | -0.4 | yes |" in page
    assert "a \\| note" in page
    assert caption(cells).replace("*", "\\*").replace("<", "\\<") in page
    text = latex_text("Title & more", cells)
    assert "Soft-ReLU-Wing & $-1.6$ $\\pm$ 19.9 & $-2.0$ & 1 & $-0.4$ & yes \\\\" in text
    assert "Title \\& more" in text
    assert text.count("\\begin{tabular}") == 6


def test_asterisk_of_the_paper_is_shown_and_explained():
    cells = side_by_side(experiment("softseg-table3"), {})
    lines = {
        (each["metric"], each["training"]): each["published_significant"]
        for each in csv.DictReader(io.StringIO(csv_text(cells)))
    }
    assert lines["Dice", "Hard-Sig-Dice"] == "yes"
    assert lines["Recall", "Hard-Sig-Dice"] == ""
    marked = [cell(cells, "Hard-Sig-Dice", metric, "Gray matter") for metric in ("Dice", "Recall")]
    assert [lines_of([number])[0][2] for number in marked] == ["82.3 ± 5.0*", "83.3 ± 8.1"]
    assert "82.3 ± 5.0\\* |" in markdown_text("Title", marked)
    assert "82.3 $\\pm$ 5.0$^{*}$ &" in latex_text("Title", marked)
    assert "*: the paper finds it significantly different" in caption(marked)
    assert "*" not in caption(marked[1:])


def test_caption_says_how_hd95_is_measured_where_there_is_one():
    cells = side_by_side(experiment("geols-table1"), {})
    distances = [each for each in cells if each.metric == "HD"]
    assert "HD95: the larger of both directions, surface elements weighted by their area" in caption(
        distances
    )
    assert "HD95" not in caption([each for each in cells if each.metric != "HD"])
    assert "*" not in caption(cells)
