import csv
import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UnknownNameError
from sfumato.evaluation.rows import Row
from sfumato.statistics import compare_methods
from sfumato.tables.comparison import caption, comparison_tables, latex_text, markdown_text
from sfumato.tables.render import csv_text, latex_escaped

# Six cases; every other method loses all six to "ours" but "tie" is equal to "LS_0.1".
DICE = {"CE": 0.70, "LS_0.1": 0.75, "tie": 0.75, "ours": 0.80}


def row(method, value, case, structure, metric, unit, dataset):
    status = "ok" if math.isfinite(value) else "empty_prediction"
    return Row(f"{method}-seed0", method, dataset, 0, 0, case, "", structure, metric, value, unit, status)


def rows(dataset="BraTS_19 & co", structures=("ET", "TC"), methods=DICE):
    return [
        row(method, methods[method] - 0.01 * c, f"c{c}", structure, metric, unit, dataset)
        for method in methods
        for metric, unit in (("dice", "fraction"), ("hd95", "mm"))
        for structure in structures
        for c in range(6)
    ]


def comparison(table=None, **options):
    return compare_methods(rows() if table is None else table, proposed="ours", **options)


def column(table, metric, structure):
    place = [(h.group, h.title) for h in table.headings].index((metric, structure))
    return dict(zip(methods(table), table.column(place), strict=True))


def methods(table):
    return [cell.text for cell in table.column(0)]


def test_rows_are_methods_with_the_proposed_one_last_and_columns_are_structures_per_metric():
    (layout,) = comparison_tables(comparison())
    assert methods(layout) == ["CE", "LS_0.1", "tie", "ours"]
    structures = ["ET", "TC", "Average"]
    assert [(h.group, h.title) for h in layout.headings[1:]] == [
        (metric, structure) for metric in ("dice", "hd95") for structure in structures
    ]


def test_numbers_are_mean_and_deviation_over_the_units():
    # 0.80 - 0.01 * (0 .. 5): mean 0.775, squared deviations 0.00175, over 5 and rooted 0.0187.
    (layout,) = comparison_tables(comparison())
    cell = column(layout, "dice", "ET")["ours"]
    assert cell.text == "0.775 ± 0.019"
    (with_error,) = comparison_tables(comparison(), spread="se")
    assert column(with_error, "dice", "ET")["ours"].text == "0.775 ± 0.008"


def test_best_and_second_best_are_emphasised_and_equal_means_share_it():
    (layout,) = comparison_tables(comparison())
    emphasis = {method: cell.emphasis for method, cell in column(layout, "dice", "ET").items()}
    assert emphasis == {"CE": "", "LS_0.1": "second", "tie": "second", "ours": "best"}
    lower_is_better = {method: cell.emphasis for method, cell in column(layout, "hd95", "ET").items()}
    assert lower_is_better == {"CE": "best", "LS_0.1": "second", "tie": "second", "ours": ""}


def test_marks_tell_significance_after_correction_from_significance_before():
    # Six wins of six: p 2/64 = 0.031, above 0.05 once it is one of three, but not as the only one.
    (three,) = comparison_tables(comparison())
    assert {method: cell.mark for method, cell in column(three, "dice", "ET").items()} == {
        "CE": "†",
        "LS_0.1": "†",
        "tie": "†",
        "ours": "",
    }
    (one,) = comparison_tables(comparison(rows(methods={"CE": 0.7, "ours": 0.8})))
    assert column(one, "dice", "ET")["CE"].mark == "*"


def test_a_method_alone_has_neither_emphasis_nor_marks():
    (layout,) = comparison_tables(comparison(rows(methods={"ours": 0.8})))
    cells = column(layout, "dice", "ET")
    assert (cells["ours"].emphasis, cells["ours"].mark) == ("", "")


def test_undefined_values_are_counted_in_the_cell_and_missing_means_are_dashes():
    table = rows(structures=("ET",))
    table = [
        row(one.method, math.nan, one.case, "ET", one.metric, one.unit, one.dataset)
        if one.metric == "hd95" and (one.method == "CE" or (one.method == "tie" and one.case == "c1"))
        else one
        for one in table
    ]
    (layout,) = comparison_tables(comparison(table))
    assert column(layout, "hd95", "ET")["CE"].plain == "– (6 undefined)"
    assert column(layout, "hd95", "ET")["tie"].plain.endswith(" (1 undefined)")
    # A mean without its hardest case is not called better than one of all cases.
    emphasis = {method: cell.emphasis for method, cell in column(layout, "hd95", "ET").items()}
    assert emphasis == {"CE": "", "LS_0.1": "best", "tie": "", "ours": "second"}
    assert "(1 undefined)" in markdown_text(comparison(table))
    assert "(1 undefined)" in latex_text(comparison(table))


def test_small_numbers_keep_three_digits():
    table = [
        row(m, v, f"c{c}", "all", "tace", "fraction", "")
        for m, v in (("a", 0.00251), ("ours", 0.00122))
        for c in (0, 1)
    ]
    (layout,) = comparison_tables(comparison(table))
    assert {m: cell.text.split(" ")[0] for m, cell in column(layout, "tace", "all").items()} == {
        "a": "0.00251",
        "ours": "0.00122",
    }


def test_a_negative_number_that_rounds_to_nothing_has_no_sign():
    table = [
        row(m, v, f"c{c}", "all", "rvd", "mm", "") for m, v in (("a", 30.0), ("ours", -0.001)) for c in (0, 1)
    ]
    (layout,) = comparison_tables(comparison(table))
    assert column(layout, "rvd", "all")["ours"].text.startswith("0.00 ")


def test_each_data_set_has_its_table():
    both = comparison(rows() + rows("other"))
    assert [layout.title for layout in comparison_tables(both)] == ["BraTS_19 & co", "other"]
    records = list(csv.DictReader(io.StringIO(csv_text(comparison_tables(both), first="dataset"))))
    assert [(record["dataset"], record["method"]) for record in records[::4]] == [
        ("BraTS_19 & co", "CE"),
        ("other", "CE"),
    ]


def test_wide_tables_continue_below_without_breaking_a_metric():
    (layout,) = comparison_tables(comparison(rows(structures=("A", "B", "C", "D"))))
    assert [[h.title for h in page.headings] for page in layout.pages()] == [
        ["method", "A", "B", "C", "D", "Average"]
    ] * 2
    (narrow,) = comparison_tables(comparison())
    assert narrow.pages() == [narrow]


def test_csv_holds_the_numbers_of_the_layout():
    result = comparison()
    first = next(csv.DictReader(io.StringIO(csv_text(comparison_tables(result), first="dataset"))))
    assert first["method"] == "CE"
    assert first["dice ET [fraction]"] == "0.675 ± 0.019†"


def test_markdown_tables_are_rectangular_and_mark_best_and_second():
    result = comparison()
    text = markdown_text(result)
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1
    assert "| **0.775 ± 0.019** |" in text
    assert "| LS\\_0.1 | <u>0.725 ± 0.019</u>† |" in text
    assert "| dice | ET | CE | 6 | 6 | 0 | 0 | 0.0312 | exact (ties) | 0.0938 | 1 |" in text


def balanced(text):
    depth = 0
    for character in re.sub(r"\\[{}\\]", "", text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    return depth == 0


def test_latex_is_balanced_escaped_and_every_line_has_the_same_columns():
    result = comparison()
    text = latex_text(result)
    assert balanced(text)
    assert text.count("\\begin{") == text.count("\\end{") == 2
    columns = len(re.search(r"\\begin\{tabular\}\{(l+c+)\}", text)[1])
    lines = text.split("\\midrule\n")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.endswith("\\\\")
        assert len(re.findall(r"(?<!\\)&", line)) == columns - 1
    spans = [int(width) for width in re.findall(r"\\multicolumn\{(\d+)\}", text)]
    assert sum(spans) == columns - 1
    assert "\\cmidrule(lr){2-4} \\cmidrule(lr){5-7}" in text
    assert "BraTS\\_19 \\& co." in text
    assert "LS\\_0.1 & \\underline{0.725 $\\pm$ 0.019}$^{\\dagger}$" in text
    assert "ours & \\textbf{0.775 $\\pm$ 0.019} &" in text
    assert text.isascii()


def test_latex_writes_a_minus_sign_and_a_dash():
    table = [
        row(m, v, f"c{c}", "all", "rvd", "fraction", "")
        for m, v in (("a", -0.25), ("b", math.nan), ("ours", 0.1))
        for c in (0, 1)
    ]
    result = comparison(table)
    text = latex_text(result)
    assert "a & \\underline{$-0.250$ $\\pm$ 0.000}" in text
    assert "b & -- (2 undefined) \\\\" in text


@given(st.text(max_size=20))
def test_escaped_text_leaves_no_character_with_a_meaning(text):
    escaped = latex_escaped(text)
    assert balanced(escaped)
    bare = re.sub(r"\\text[a-z]+\{\}|\$[^$]*\$|\\[&%$#_{}]", "", escaped)
    assert not set(bare) & set("&%$#_{}~^\\<>|")


def test_caption_names_unit_test_correction_and_average():
    text = " ".join(caption(comparison(unit="case")))
    assert "standard deviation over cases; unit of analysis: case" in text
    assert "Wilcoxon signed-rank test against ours, p exact" in text
    assert "Holm's correction" in text
    assert "Average: mean over structures within each case that has a value in all of them" in text
    assert "the others are left out" in text
    assert "Wilcoxon" not in " ".join(caption(comparison(rows(methods={"ours": 0.8}))))


def test_unknown_spread_is_refused():
    with pytest.raises(UnknownNameError, match="unknown spread 'sem'"):
        comparison_tables(comparison(), spread="sem")  # type: ignore[arg-type]  # the mistake is the test
