import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from sfumato.errors import FileFormatError, InputError
from sfumato.evaluation.rows import Row, write_rows
from sfumato.statistics import compare, compare_methods, summary_table, tidy


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_frame_and_file_give_the_same_table(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        Row(f"{m}-seed{s}-fold0", m, "d", s, 0, f"c{c}", "", "cell", "dice", float(rng.random()), "fraction")
        for m in ("a", "b")
        for s in (0, 1)
        for c in range(6)
    ]
    write_rows(rows, tmp_path / "m.csv")
    tables = [
        compare(form, proposed="a", metric="dice")
        for form in (
            rows,
            iter(rows),
            pd.DataFrame([vars(one) for one in rows]),
            pd.read_csv(tmp_path / "m.csv"),
            tidy([tmp_path / "m.csv"]),
        )
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_table_of_another_tool_needs_only_few_columns(tmp_path):
    path = write(
        tmp_path / "m.csv",
        "\ufeffRun, Method,metric,Value,note\n1,a,dice,0.5,x\n2,a,dice,0.7,\n1,b,dice,0.4,y\n2,b,dice,0.6,\n",
    )
    table = compare(tidy([path]), proposed="a", metric="dice")
    assert table[["structure", "unit_of_analysis", "n", "wins"]].values.tolist() == [["all", "run", 2, 2]]


def test_runs_without_seed_and_fold_are_paired_by_name_without_the_method():
    frame = pd.DataFrame(
        {
            "run": ["a-x", "a-y", "b-y", "b-x"],
            "method": list("aabb"),
            "metric": "dice",
            "value": [1.0, 2.0, 2.5, 1.75],
        }
    )
    table = compare(frame, proposed="a", metric="dice", unit="run")
    assert table["mean_difference"].tolist() == [pytest.approx((-0.75 - 0.5) / 2)]


def test_the_only_runs_of_two_methods_are_paired_whatever_their_names():
    frame = pd.DataFrame(
        {
            "run": ["exp7", "exp7", "exp9", "exp9"],
            "method": list("aabb"),
            "case": ["c1", "c2"] * 2,
            "metric": "dice",
            "value": [1.0, 2.0, 2.5, 1.75],
        }
    )
    assert compare(frame, proposed="a", metric="dice")["n"].tolist() == [2]


def test_seeds_pair_however_they_are_written(tmp_path):
    first = write(tmp_path / "a.csv", "method,metric,value,seed\na,dice,1,0\na,dice,2,1\n")
    second = write(tmp_path / "b.csv", "method,metric,value,seed\nb,dice,1,0.0\nb,dice,2,1.0\n")
    assert compare(tidy([first, second]), proposed="a", metric="dice")["n"].tolist() == [2]


def test_a_case_number_keeps_its_zeros(tmp_path):
    path = write(tmp_path / "m.csv", "method,metric,value,case\na,dice,1,001\na,dice,2,01\n")
    assert tidy([path])["case"].tolist() == ["001", "01"]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "inf", "-"])
def test_values_that_are_no_numbers_are_undefined_and_counted(tmp_path, cell):
    path = write(tmp_path / "m.csv", f"method,metric,value,case\na,dice,{cell},c1\na,dice,2,c2\n")
    summary = summary_table(tidy([path]), unit="case")
    assert summary[["n", "mean", "undefined"]].values.tolist() == [[1, 2.0, 1]]


def test_missing_cells_of_a_frame_are_read_as_not_stated():
    frame = pd.DataFrame(
        {
            "method": ["a", "b"],
            "metric": "dice",
            "value": [0.1, None],
            "seed": [3, None],
            "fold": [pd.NA, 1],
            "case": ["c", np.nan],
        }
    )
    values = tidy(frame)
    assert values[["seed", "fold", "case"]].values.tolist() == [["3", "", "c"], ["", "1", ""]]
    assert math.isnan(values["value"][1])
    assert values["status"][1] == "no value"


def test_missing_columns_are_listed(tmp_path):
    path = write(tmp_path / "m.csv", "model,metric,score\na,dice,1\n")
    with pytest.raises(
        FileFormatError, match="lacks method and value and one of case, run, seed, fold; it has model"
    ):
        tidy([path])


def test_a_value_that_is_no_number_is_named_with_its_line(tmp_path):
    path = write(tmp_path / "m.csv", "method,metric,value,case\na,dice,1,c1\na,dice,high,c2\n")
    with pytest.raises(FileFormatError, match=r"m.csv, line 3: value 'high' is not a number"):
        tidy([path])


def test_a_number_with_a_status_that_says_undefined_is_refused():
    frame = pd.DataFrame(
        {"method": ["a"], "metric": "dice", "value": [0.5], "case": "c", "status": "both_empty"}
    )
    with pytest.raises(FileFormatError, match=r"row 0: value 0\.5 does not fit status 'both_empty'"):
        tidy(frame)


def test_an_empty_method_is_named(tmp_path):
    path = write(tmp_path / "m.csv", "method,metric,value,case\n,dice,1,c1\n")
    with pytest.raises(FileFormatError, match="line 2: method is empty"):
        tidy([path])


@pytest.mark.parametrize("text", ["", "method,metric,value,case\na,b\na,b,c,d,e,f\n", "\x00\xff"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"m\.csv"):
        tidy([path])


def test_absent_files_and_empty_tables_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"cannot read .*absent.csv"):
        tidy([tmp_path / "absent.csv"])
    with pytest.raises(InputError, match="no rows"):
        tidy([write(tmp_path / "m.csv", "method,metric,value,case\n")])
    with pytest.raises(InputError, match="no rows"):
        tidy([])
    with pytest.raises(InputError, match="row 0 is a dict"):
        tidy([{"method": "a"}])  # type: ignore[list-item]  # the mistake is the test


def test_rater_of_an_older_table_stands_behind_its_structure(tmp_path):
    text = "method,metric,value,case,structure\na,dice,1,c,cell@rater3\na,dice,0.5,c,cell\n"
    table = tidy(write(tmp_path / "m.csv", text))
    assert table[["structure", "rater"]].values.tolist() == [["cell", "rater3"], ["cell", ""]]


def test_comparison_takes_the_files_themselves(tmp_path):
    rows = "".join(f"{m},dice,{v / 10},c{v}\n" for m in "ab" for v in range(3))
    path = write(tmp_path / "m.csv", "method,metric,value,case\n" + rows)
    for form in (path, str(path), [path]):
        assert compare(form, proposed="a", metric="dice")["n"].tolist() == [3]


def test_a_column_that_comes_twice_is_refused():
    frame = pd.DataFrame(
        [["a", "dice", 1.0, "c", "d"]], columns=["method", "metric", "value", "case", "Case"]
    )
    with pytest.raises(FileFormatError, match="has a column twice: case"):
        tidy(frame)


def test_points_of_diagrams_change_no_statistic_in_any_form(tmp_path):
    rng = np.random.default_rng(3)
    rows = [
        Row(f"{m}-seed0-fold0", m, "d", 0, 0, f"c{c}", "", "cell", "dice", float(rng.random()), "fraction")
        for m in ("a", "b")
        for c in range(7)
    ]
    # As older tables hold them, before and after the scores.
    diagrams = [
        dataclasses.replace(rows[0], case="", structure=place, metric=metric, value=value, status=status)
        for place, metric, value, status in (
            ("epoch 0", "history:train_loss", 1.0, "ok"),
            ("soft 0.0..0.5", "values:voxels", 3.0, "ok"),
            ("tuning 0.5", "threshold:dice", 0.8, "ok"),
            ("all 0.0..0.5", "reliability:voxels", 0.0, "ok"),
            ("all 0.0..0.5", "reliability:accuracy", math.nan, "no_voxel"),
        )
    ]
    write_rows([*diagrams[:2], *rows, *diagrams[2:]], tmp_path / "m.csv")
    alone = compare_methods(rows, proposed="a")
    for form in ([*rows, *diagrams], tidy([tmp_path / "m.csv"]), pd.read_csv(tmp_path / "m.csv")):
        found = compare_methods(form, proposed="a")
        for name in ("summary", "tests", "ranks", "unmatched"):
            pd.testing.assert_frame_equal(getattr(found, name), getattr(alone, name))
        assert (found.notes, found.unit) == (alone.notes, "case")
    with pytest.raises(InputError, match="holds no rows"):
        tidy(diagrams)
