import csv
import math
import statistics

import pytest

from sfumato.evaluation.rows import aggregate, read_rows
from sfumato.report.runs import load_runs
from sfumato.statistics import summary_table as statistics_of
from sfumato.tables.report import (
    case_lines,
    metric_title,
    per_case,
    rater_table,
    structure_tables,
    summary_table,
    table_of,
)


def cell_of(table, method, metric):
    return table.lines[method][[column.metric for column in table.columns].index(metric)]


def test_structure_table_equals_the_aggregate_of_the_csv_for_single_runs(runs_folder):
    rows = read_rows(runs_folder / "geols-seed0-fold0" / "metrics.csv")
    tables = structure_tables(rows)
    for found in aggregate(rows):
        cells = [
            cell_of(table, "geols", found.metric)
            for table in tables[found.structure]
            if found.metric in [column.metric for column in table.columns]
        ]
        assert [(c.mean, c.deviation, c.cases, c.undefined) for c in cells] == [
            (found.mean, found.deviation, found.defined, found.undefined)
        ]


def test_summary_can_be_computed_again_from_the_csv_text_alone(runs_folder):
    data = load_runs(runs_folder)
    with (runs_folder / "singr-seed0-fold0" / "metrics.csv").open() as file:
        records = [r for r in csv.DictReader(file) if r["metric"] == "dice"]
    cases = {r["case"] for r in records}
    means = [
        statistics.fmean(float(r["value"]) for r in records if r["case"] == case) for case in sorted(cases)
    ]
    cell = cell_of(summary_table(data.rows), "singr", "dice")
    assert cell.mean == pytest.approx(statistics.fmean(means), abs=1e-12)
    assert cell.deviation == pytest.approx(statistics.stdev(means), abs=1e-12)
    assert cell.cases == 5


def test_seeds_of_one_case_are_averaged_and_not_counted_twice(made_up):
    rows = [
        made_up.row(seed=seed, case=case, value=value)
        for seed, case, value in [(0, "c1", 0.2), (1, "c1", 0.4), (0, "c2", 0.9), (1, "c2", 0.9)]
    ]
    cell = cell_of(table_of(rows, ["dice"], caption=""), "a", "dice")
    assert cell.mean == pytest.approx(0.6)
    assert cell.deviation == pytest.approx(statistics.stdev([0.3, 0.9]))
    assert cell.cases == 2


def test_method_that_lost_a_structure_is_counted_and_not_ranked(made_up):
    values = {"a": [1.0, math.nan], "b": [2.0, 4.0], "c": [5.0, 5.0]}
    rows = [
        made_up.row(method=method, case=f"c{index}", metric="hd95", value=value)
        for method, several in values.items()
        for index, value in enumerate(several)
    ]
    table = table_of(rows, ["hd95"], caption="")
    assert [cell_of(table, method, "hd95").rank for method in "abc"] == [0, 1, 2]
    lost = cell_of(table, "a", "hd95")
    assert (lost.mean, lost.cases, lost.undefined, lost.text) == (1.0, 1, 1, "1.00")


def test_signed_difference_nearest_to_zero_is_best(made_up):
    rows = [made_up.row(method=m, metric="rvd", value=v) for m, v in {"a": 0.2, "b": -0.05, "c": 0.1}.items()]
    table = table_of(rows, ["rvd"], caption="")
    assert [cell_of(table, method, "rvd").rank for method in "abc"] == [0, 1, 2]
    assert cell_of(table, "b", "rvd").text == "−0.050"
    assert table.columns[0].arrow == "→0"


def test_means_that_print_alike_share_a_rank(made_up):
    rows = [made_up.row(method=m, value=v) for m, v in {"a": 0.90012, "b": 0.90008, "c": 0.8}.items()]
    table = table_of(rows, ["dice"], caption="")
    assert [cell_of(table, method, "dice").rank for method in "abc"] == [1, 1, 2]


def test_volume_is_no_score_and_has_neither_arrow_nor_rank(made_up):
    rows = [made_up.row(method=m, metric="volume", value=v) for m, v in {"a": 3.0, "b": 2.0}.items()]
    table = table_of(rows, ["volume"], caption="")
    assert table.columns[0].arrow == ""
    assert {cells[0].rank for cells in table.lines.values()} == {0}


def test_value_just_below_zero_prints_without_a_sign(made_up):
    table = table_of([made_up.row(metric="rvd", value=-0.00001)], ["rvd"], caption="")
    assert not cell_of(table, "a", "rvd").text.startswith("−")


def test_raters_are_averaged_in_the_tables_and_told_apart_in_their_own(made_up):
    rows = [
        made_up.row(rater=name, structure="cell", value=value)
        for name, value in {"Ada": 0.6, "Bo": 0.8}.items()
    ]
    assert list(structure_tables(rows)) == ["cell"]
    assert cell_of(structure_tables(rows)["cell"][0], "a", "dice").mean == pytest.approx(0.7)
    assert {rater: cell.mean for rater, cell in rater_table(rows)["a"].items()} == {"Ada": 0.6, "Bo": 0.8}


def test_scores_against_raters_do_not_mix_with_those_against_their_consensus(made_up):
    rows = [
        made_up.row(rater=name, structure="cell", value=value)
        for name, value in {"": 0.9, "Ada": 0.6, "Bo": 0.8}.items()
    ]
    assert cell_of(structure_tables(rows)["cell"][0], "a", "dice").mean == 0.9
    assert cell_of(summary_table(rows), "a", "dice").mean == 0.9
    assert case_lines(rows)[0].values == {"a": 0.9}
    assert {rater: cell.mean for rater, cell in rater_table(rows)["a"].items()} == {"Ada": 0.6, "Bo": 0.8}


def test_interval_is_the_bootstrap_of_the_statistics(made_up):
    values = [0.91, 0.85, 0.4, 0.77]
    rows = [made_up.row(case=f"c{index}", value=value) for index, value in enumerate(values)]
    cell = cell_of(structure_tables(rows)["head"][0], "a", "dice")
    found = statistics_of(rows, metric="dice").iloc[0]
    assert (cell.low, cell.high) == (found["ci_low"], found["ci_high"])
    assert cell.interval == f"[{found['ci_low']:.3f}, {found['ci_high']:.3f}]"
    assert cell_of(table_of(rows[:1], ["dice"], caption=""), "a", "dice").interval == ""


def test_metric_without_a_known_name_still_has_its_table(made_up):
    tables = structure_tables([made_up.row(metric="own_number", value=3.5)])
    assert tables["head"][0].caption == "Further metrics"
    assert metric_title("own_number") == "Own number"
    assert metric_title("hd95@voxel-max") == "HD95 (voxel-max)"


def test_cases_come_worst_first_and_undefined_last(made_up):
    values = {"c1": 0.9, "c2": math.nan, "c3": 0.1, "c4": 0.5}
    lines = case_lines([made_up.row(case=case, value=value) for case, value in values.items()])
    assert [line.case for line in lines] == ["c3", "c4", "c1", "c2"]
    assert lines[0].values == {"a": 0.1}


def test_no_rows_give_no_tables():
    assert summary_table([]) is None
    assert structure_tables([]) == {}
    assert case_lines([]) == ()
    assert per_case([], structure="all") == []
