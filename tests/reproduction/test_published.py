"""Tables as the papers print them, and a planned training for every number of them."""

import math

import pytest

from sfumato.errors import UnknownNameError
from sfumato.reproduction.experiments import EXPERIMENTS, experiment
from sfumato.reproduction.published import FACTORS, RowKey, published_rows, published_tables
from sfumato.reproduction.side_by_side import published_row

# Rows per table, as counted in the papers; three numbers of each paper by hand.
COUNTS = {
    "geols_table1": 55,
    "geols_table2": 75,
    "geols_table3": 20,
    "singr_table1": 72,
    "singr_table2": 27,
    "singr_table3": 64,
    "svls_table1": 130,
    "svls_table2": 96,
    "softseg_table3": 30,
    "softseg_table4": 25,
    "softseg_table5": 30,
}
BY_HAND = [
    ("geols_table1", ("GeoLS", "HD", "Average"), ("8.78", "1.28", "std_over_runs", "mm")),
    ("geols_table2", ("FL", "SD", "Pancreas"), ("61.65", "1.19", "std_over_runs", "%")),
    ("singr_table1", ("SiNGR", "Dice", "WT"), ("91.3", "0.1", "standard_error", "%")),
    ("svls_table1", ("SVLS", "TACE", "All"), ("0.0040", "", "none", "fraction")),
    ("softseg_table5", ("Soft-ReLU-Wing", "MSE", "Tumor core"), ("29.7", "38.0", "std_over_runs", "%")),
]


def test_every_table_has_all_its_numbers():
    assert {name: len(published_rows(name)) for name in published_tables()} == COUNTS
    assert sum(COUNTS.values()) == 624


@pytest.mark.parametrize(("table", "place", "printed"), BY_HAND)
def test_numbers_are_as_printed(table, place, printed):
    row = next(row for row in published_rows(table) if (row.method, row.metric, row.structure) == place)
    assert (row.mean, row.spread, row.spread_kind, row.unit) == printed


def test_every_row_is_a_number_in_a_known_unit_and_stands_once():
    for table in published_tables():
        rows = published_rows(table)
        assert len({(*row.key, row.metric, row.structure) for row in rows}) == len(rows)
        for row in rows:
            assert math.isfinite(row.value)
            assert row.unit in FACTORS
            assert (row.spread_kind == "none") == math.isnan(row.deviation)


def test_digits_behind_the_point_are_those_of_the_paper():
    decimals = {row.mean: row.decimals for table in published_tables() for row in published_rows(table)}
    assert decimals["0.0040"] == 4
    assert decimals["29.7"] == 1
    assert all(round(float(mean), places) == float(mean) for mean, places in decimals.items())


def test_unknown_table_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'geols_table1'"):
        published_rows("geols-table1")


def reached(name):
    """The (table key, metric, structure) of every published number that an experiment's rows reach."""
    found = experiment(name)
    return {
        (*row.key, row.metric, row.structure)
        for part in found.content.data
        for metric, measure in part.metrics.items()
        for structure in measure.structures
        for training in found.trainings(part.layout)
        if (row := published_row(found, part, training, metric, structure)) is not None
    }


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if "-table" in name])
def test_every_published_number_is_reached_by_a_planned_training(name):
    (table,) = experiment(name).content.tables
    assert table == name.replace("-", "_")
    assert reached(name) == {(*row.key, row.metric, row.structure) for row in published_rows(table)}


def test_the_eleven_tables_are_the_published_ones():
    tables = {name.replace("-", "_") for name in EXPERIMENTS if "-table" in name}
    assert tables == set(published_tables())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_units_are_those_of_the_table_and_no_row_is_invented(name):
    found = experiment(name)
    for part in found.content.data:
        for training in found.trainings(part.layout):
            if training.row is None:
                continue
            printed = training.row
            key = RowKey(part.dataset, training.architecture, printed.method, printed.label, printed.loss)
            published_here = part.dataset in {row.dataset for rows in found.rows.values() for row in rows}
            if key not in found.rows:
                # A figure's point that no table prints, such as SiNGR on NestedFormer.
                assert "-figure" in name
                assert published_here
            for row in found.rows.get(key, ()):
                if row.metric in part.metrics:
                    assert row.unit == part.metrics[row.metric].unit
