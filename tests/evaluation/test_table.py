import dataclasses
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import FileFormatError, MachineError, OutputExistsError, ValueRangeError
from sfumato.evaluation import Row, read_rows, write_rows
from sfumato.evaluation.rows import COLUMNS, STATUSES

PLAIN = Row("ce-seed0-fold1", "ce", "cells", 0, 1, "P01", "", "cell", "dice", 0.875, "fraction", "ok")

words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


@st.composite
def table_rows(draw):
    status = draw(st.sampled_from(STATUSES))
    value = draw(st.floats(allow_nan=False)) if status == "ok" else math.nan
    number = st.none() | st.integers(-5, 10**12)
    return Row(
        *(draw(words) for _ in range(3)),
        draw(number),
        draw(number),
        *(draw(words) for _ in range(4)),
        value,
        draw(words),
        status,
    )


def test_the_columns_are_those_of_the_design():
    wanted = "run method dataset seed fold case rater structure metric value unit status"
    assert tuple(wanted.split()) == COLUMNS


@given(rows=st.lists(table_rows(), max_size=5))
@settings(max_examples=40)
def test_rows_read_back_as_they_were_written(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "metrics.csv"
    write_rows(rows, path)
    # repr tells every float's bits apart, and nan from nan it does not.
    assert repr(read_rows(path)) == repr(rows)


def test_the_file_is_plain_csv_with_one_line_a_row(tmp_path):
    undefined = dataclasses.replace(PLAIN, metric="hd95", value=math.nan, unit="mm", status="empty_reference")
    write_rows([PLAIN, dataclasses.replace(undefined, seed=None, fold=None)], tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        ",".join(COLUMNS),
        "ce-seed0-fold1,ce,cells,0,1,P01,,cell,dice,0.875,fraction,ok",
        "ce-seed0-fold1,ce,cells,,,P01,,cell,hd95,nan,mm,empty_reference",
    ]


@pytest.mark.parametrize(
    ("value", "status"), [(math.nan, "ok"), (1.0, "both_empty"), (0.0, "empty_reference")]
)
def test_a_value_is_defined_exactly_when_its_status_is_ok(value, status):
    with pytest.raises(ValueRangeError, match="does not fit status"):
        dataclasses.replace(PLAIN, value=value, status=status)


def test_an_unknown_status_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(ValueRangeError, match="status is 'fine': it must be one of ok, empty_reference"):
        dataclasses.replace(PLAIN, status="fine")


def test_an_existing_table_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "m.csv"
    write_rows([PLAIN], path)
    with pytest.raises(OutputExistsError, match="exists already"):
        write_rows([], path)
    assert read_rows(path) == [PLAIN]
    write_rows([PLAIN, PLAIN], path, overwrite=True)
    assert len(read_rows(path)) == 2


def test_a_failure_half_way_leaves_the_old_table_and_nothing_else(tmp_path):
    path = tmp_path / "m.csv"
    write_rows([PLAIN], path)

    def rows():
        yield PLAIN
        raise OSError(28, os.strerror(28))

    with pytest.raises(MachineError, match="No space left"):
        write_rows(rows(), path, overwrite=True)
    assert read_rows(path) == [PLAIN]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.csv"]


def test_a_table_of_another_tool_may_have_more_columns_in_another_order(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(
        "\ufeffvalue,note,run,method,dataset,seed,fold,case,structure,metric,unit,status\r\n"
        '0.5,"a, b",r,m,d,1,,c,s,dice,fraction,ok\r\n'
        ",,r,m,d,1,,c,s,hd95,mm,both_empty\r\n".encode()
    )
    first, second = read_rows(path)
    assert first == Row("r", "m", "d", 1, None, "c", "", "s", "dice", 0.5, "fraction", "ok")
    assert math.isnan(second.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns run, method"),
        ("a,b\n1,2\n", "lacks the columns"),
        (
            ",".join(COLUMNS) + "\nr,m,d,1,0,c,,s,dice,much,fraction,ok\n",
            "line 2: could not convert .*'much'",
        ),
        (",".join(COLUMNS) + "\nr,m,d,one,0,c,,s,dice,0.5,fraction,ok\n", "line 2: invalid literal"),
        (",".join(COLUMNS) + "\nr,m,d,1,0,c,s\n", "line 2: fewer cells than columns"),
        (",".join(COLUMNS) + "\nr,m,d,1,0,c,,s,dice,nan,fraction,ok\n", "line 2: value nan does not fit"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_rows(tmp_path / "m.csv")


def test_a_missing_or_binary_table_is_named(tmp_path):
    with pytest.raises(FileFormatError, match=r"cannot read .*none\.csv"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\x80\x81\xff")
    with pytest.raises(FileFormatError, match="not a CSV file"):
        read_rows(tmp_path / "x.csv")
