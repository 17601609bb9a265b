import csv
import dataclasses
import math
import statistics

import pytest

from sfumato.evaluation.rows import read_rows
from sfumato.report.runs import load_runs
from sfumato.statistics import summary_table
from sfumato.tables.metrics import metric_title
from sfumato.tables.render import html_table
from sfumato.tables.results import (
    case_lines,
    overall_tables,
    rater_table,
    report_summary,
    structure_tables,
    terminal_table,
)


def cell_of(table, method, metric):
    row = [cell.text for cell in table.column(0)].index(method)
    return table.rows[row][[heading.metric for heading in table.headings].index(metric)]


def overall_of(rows):
    (table,) = overall_tables(report_summary(rows))
    return table


def tables_of(rows):
    return structure_tables(report_summary(rows))


def test_structure_table_is_the_mean_of_the_csv_for_a_single_run(runs_folder):
    rows = read_rows(runs_folder / "geols-seed0-fold0" / "metrics.csv")
    tables = tables_of(rows)
    assert list(tables) == ["head", "tail", "all"]
    for structure, several in tables.items():
        for table in several:
            for heading in table.headings[1:]:
                values = [r.value for r in rows if (r.structure, r.metric) == (structure, heading.metric)]
                cell = cell_of(table, "geols", heading.metric)
                assert cell.value == pytest.approx(statistics.fmean(values), rel=1e-12)
                assert cell.undefined == 0
                decimals = len(cell.text.partition(".")[2].partition(" ")[0])
                assert cell.text.endswith(f"± {statistics.stdev(values):.{decimals}f}")


def test_summary_can_be_computed_again_from_the_csv_text_alone(runs_folder):
    data = load_runs(runs_folder)
    with (runs_folder / "singr-seed0-fold0" / "metrics.csv").open() as file:
        records = [r for r in csv.DictReader(file) if r["metric"] == "dice"]
    cases = {r["case"] for r in records}
    means = [
        statistics.fmean(float(r["value"]) for r in records if r["case"] == case) for case in sorted(cases)
    ]
    cell = cell_of(overall_of(data.rows), "singr", "dice")
    assert cell.value == pytest.approx(statistics.fmean(means), abs=1e-12)
    assert cell.text.endswith(f" ± {statistics.stdev(means):.3f}")


def test_case_without_a_value_in_every_structure_is_in_no_average(made_up):
    values = {("c1", "head"): 1.0, ("c1", "tail"): 3.0, ("c2", "head"): 9.0, ("c2", "tail"): math.nan}
    rows = [
        made_up.row(case=case, structure=name, metric="hd95", value=value)
        for (case, name), value in values.items()
    ]
    cell = cell_of(overall_of(rows), "a", "hd95")
    assert (cell.value, cell.undefined) == (2.0, 1)
    assert cell_of(tables_of(rows)["head"][0], "a", "hd95").value == 5.0


def test_seeds_of_one_case_are_averaged_and_not_counted_twice(made_up):
    rows = [
        made_up.row(seed=seed, case=case, value=value)
        for seed, case, value in [(0, "c1", 0.2), (1, "c1", 0.4), (0, "c2", 0.9), (1, "c2", 0.9)]
    ]
    assert cell_of(overall_of(rows), "a", "dice").text == f"0.600 ± {statistics.stdev([0.3, 0.9]):.3f}"
    table = terminal_table(rows)
    assert [cell.text for cell in table.rows[0]] == [
        "head",
        "a",
        f"0.600 ± {statistics.stdev([0.3, 0.9]):.3f}",
    ]


def test_method_that_lost_a_structure_is_counted_and_not_ranked(made_up):
    values = {"a": [1.0, math.nan], "b": [2.0, 4.0], "c": [5.0, 5.0]}
    rows = [
        made_up.row(method=method, case=f"c{index}", metric="hd95", value=value)
        for method, several in values.items()
        for index, value in enumerate(several)
    ]
    table = overall_of(rows)
    assert [cell_of(table, method, "hd95").emphasis for method in "abc"] == ["", "best", "second"]
    lost = cell_of(table, "a", "hd95")
    assert (lost.value, lost.undefined, lost.plain) == (1.0, 1, "1.00 (1 undefined)")


def test_signed_difference_nearest_to_zero_is_best(made_up):
    rows = [made_up.row(method=m, metric="rvd", value=v) for m, v in {"a": 0.2, "b": -0.05, "c": 0.1}.items()]
    table = overall_of(rows)
    assert [cell_of(table, method, "rvd").emphasis for method in "abc"] == ["", "best", "second"]
    assert cell_of(table, "b", "rvd").text == "-0.050"
    assert "−0.050" in html_table(table)
    assert table.headings[1].arrow == "→0"


def test_means_that_print_alike_share_a_rank(made_up):
    rows = [made_up.row(method=m, value=v) for m, v in {"a": 0.90012, "b": 0.90008, "c": 0.8}.items()]
    assert [cell_of(overall_of(rows), method, "dice").emphasis for method in "abc"] == [
        "best",
        "best",
        "second",
    ]


def test_volume_is_no_score_and_has_neither_arrow_nor_rank(made_up):
    rows = [made_up.row(method=m, metric="volume", value=v) for m, v in {"a": 3.0, "b": 2.0}.items()]
    assert overall_tables(report_summary(rows)) == []
    (table,) = tables_of(rows)["head"]
    assert table.headings[1].arrow == ""
    assert {cell.emphasis for cell in table.column(1)} == {""}


def test_value_just_below_zero_prints_without_a_sign(made_up):
    rows = [made_up.row(method=m, metric="rvd", value=v) for m, v in {"a": -0.00001, "b": 0.3}.items()]
    assert cell_of(overall_of(rows), "a", "rvd").text == "0.000"


def test_raters_are_averaged_in_the_tables_and_told_apart_in_their_own(made_up):
    rows = [
        made_up.row(rater=name, structure="cell", value=value)
        for name, value in {"Ada": 0.6, "Bo": 0.8}.items()
    ]
    assert list(tables_of(rows)) == ["cell"]
    assert cell_of(tables_of(rows)["cell"][0], "a", "dice").value == pytest.approx(0.7)
    table = rater_table(rows)
    assert [heading.title for heading in table.headings] == ["Method", "Ada", "Bo"]
    assert [cell.value for cell in table.rows[0][1:]] == [0.6, 0.8]


def test_scores_against_raters_do_not_mix_with_those_against_their_consensus(made_up):
    rows = [
        made_up.row(rater=name, structure="cell", value=value)
        for name, value in {"": 0.9, "Ada": 0.6, "Bo": 0.8}.items()
    ]
    assert cell_of(tables_of(rows)["cell"][0], "a", "dice").value == 0.9
    assert cell_of(overall_of(rows), "a", "dice").value == 0.9
    assert case_lines(rows)[0].values == {"a": 0.9}
    assert [cell.value for cell in rater_table(rows).rows[0][1:]] == [0.6, 0.8]


def test_interval_is_the_bootstrap_of_the_statistics(made_up):
    values = [0.91, 0.85, 0.4, 0.77]
    rows = [made_up.row(case=f"c{index}", value=value) for index, value in enumerate(values)]
    cell = cell_of(tables_of(rows)["head"][0], "a", "dice")
    expected = summary_table(rows, metric="dice").iloc[0]
    assert cell.interval == f"[{expected['ci_low']:.3f}, {expected['ci_high']:.3f}]"
    assert cell_of(overall_of(rows[:1]), "a", "dice").interval == ""


def test_each_data_set_has_its_own_tables(made_up):
    rows = [made_up.row(), dataclasses.replace(made_up.row(value=0.25), dataset="other")]
    assert [(t.title, t.rows[0][1].text) for t in overall_tables(report_summary(rows))] == [
        ("made-up", "0.500"),
        ("other", "0.250"),
    ]
    assert list(tables_of(rows)) == ["made-up, head", "other, head"]


def test_metric_without_a_known_name_still_has_its_table(made_up):
    tables = tables_of([made_up.row(metric="own_number", value=3.5)])
    assert tables["head"][0].title == "Further metrics"
    assert metric_title("own_number") == "Own number"
    assert metric_title("hd95@voxel-max") == "HD95 (voxel-max)"


def test_cases_come_worst_first_and_undefined_last(made_up):
    values = {"c1": 0.9, "c2": math.nan, "c3": 0.1, "c4": 0.5}
    lines = case_lines([made_up.row(case=case, value=value) for case, value in values.items()])
    assert [line.case for line in lines] == ["c3", "c4", "c1", "c2"]
    assert lines[0].values == {"a": 0.1}
