import errno
import math
import re
import statistics
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sfumato.errors import MachineError, OutputExistsError
from sfumato.report import ReportData, write_report
from sfumato.statistics import compare_methods


class Tables(HTMLParser):
    """Every table of a page as lists of rows of (text, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.cell = [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.cell = ["", dict(attrs)]
            self.tables[-1][-1].append(self.cell)

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[0] += data


def test_page_holds_every_part(page):
    text = page.read_text()
    parts = re.findall(r'<section id="(\w+)"', text)
    assert parts == [
        *("results", "statistics", "overlays", "viewer", "structures", "spread", "calibration", "values"),
        *("training", "raters", "settings"),
    ]
    assert set(re.findall(r'href="#(\w+)"', text)) == set(parts)
    assert "3 methods (ce, geols, singr) on 5 test cases of made-up: 4 runs, 2 seeds, 1 fold." in text
    assert "One thing is missing." in text
    assert "1.2e−05" in text
    assert len(page.read_bytes()) < 15e6


def test_page_asks_for_nothing_outside_itself(page):
    text = page.read_text()
    addresses = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def averages(rows, method, metric):
    """Each case's mean over its structures, where all of them have a value; seeds of a structure first."""
    values = {}
    for row in rows:
        if (row.method, row.metric) == (method, metric):
            values.setdefault(row.case, {}).setdefault(row.structure, []).append(row.value)
    means = [
        statistics.fmean(statistics.fmean(several) for several in structures.values())
        for structures in values.values()
    ]
    return [mean for mean in means if not math.isnan(mean)]


def test_numbers_of_the_main_table_are_those_of_the_rows(page, data):
    table = Tables(page.read_text()).tables[0]
    metrics = [attributes.get("data-metric") for _, attributes in table[0]]
    assert metrics == [None, "dice", "hd95", "ece"]
    undefined = sum(row.method == "ce" and row.metric == "hd95" and row.status != "ok" for row in data.rows)
    for line in table[1:]:
        method = line[0][0]
        for metric, (text, attributes) in zip(metrics[1:], line[1:], strict=True):
            mean = statistics.fmean(averages(data.rows, method, metric))
            assert float(attributes["data-value"]) == pytest.approx(mean, rel=1e-12)
            printed = re.match(r"[\d.]+", text).group()
            assert float(printed) == round(mean, len(printed.partition(".")[2]))
            lost = undefined if (method, metric) == ("ce", "hd95") else 0
            assert int(attributes["data-undefined"]) == lost
            assert (f"{lost} undefined" in text) == bool(lost)


def test_average_of_the_results_is_the_one_that_is_tested(page, data):
    comparison = compare_methods(data.rows, proposed="geols", metrics=["hd95"])
    summary = comparison.summary
    average = summary[summary["structure"] == "Average"].set_index("method")["mean"]
    rows = Tables(page.read_text()).tables[0]
    shown = {line[0][0]: float(line[2][1]["data-value"]) for line in rows[1:]}
    assert shown == average.to_dict()


def test_best_mean_is_bold_and_second_underlined(page, data):
    text = page.read_text()
    means = {method: statistics.fmean(averages(data.rows, method, "dice")) for method in data.method_names}
    best, second = sorted(means, key=means.get, reverse=True)[:2]
    line = {
        m: re.search(rf'<tr><th scope="row">{m}</th>\s*<td[^>]*>(.*?)</td>', text).group(1) for m in means
    }
    assert line[best].startswith("<strong>")
    assert line[second].startswith("<u>")


def test_page_says_what_becomes_of_a_case_with_an_undefined_structure(page, made_up, tmp_path):
    text = page.read_text()
    assert text.count("Average: mean over structures within each case") == 1
    assert "that has a value in all of them; the others are left out." in text
    alone = write_report(ReportData("t", (made_up.row(),)), tmp_path / "report.html").read_text()
    assert "Average:" not in alone, "there is one structure"


def test_figures_are_saved_beside_the_page(page):
    names = {path.name for path in (page.parent / "figures").iterdir()}
    for name in ("learning-curves", "reliability-all", "value-distribution", "thresholds", "cases-dice"):
        assert {f"{name}.svg", f"{name}.png"} <= names
    assert {"overlay-case_01.png", "raters-cell.png"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_same_data_give_the_same_figures(made_up, tmp_path):
    rows = tuple(made_up.row(case=f"c{index}", value=0.1 * index) for index in range(6))
    first, again = (write_report(ReportData("t", rows), tmp_path / name / "report.html") for name in "ab")
    for kind in ("svg", "png"):
        name = f"figures/cases-dice.{kind}"
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()


def test_page_of_rows_alone_leaves_the_other_parts_out(made_up, tmp_path):
    path = write_report(ReportData("Rows", (made_up.row(),)), tmp_path / "new" / "report.html")
    assert re.findall(r'<section id="(\w+)"', path.read_text()) == [
        "results",
        "structures",
        "spread",
        "settings",
    ]


def test_page_without_any_result_says_so(tmp_path):
    text = write_report(ReportData("Nothing", ()), tmp_path / "report.html").read_text()
    assert "No results were given." in text


def test_names_and_texts_cannot_become_markup(made_up, tmp_path):
    bad = "</script><script>alert(1)</script>"
    rows = (made_up.row(method=bad, case=bad, structure=bad, run=bad),)
    data = ReportData(bad, rows, recipes={bad: bad}, cases=(made_up.case(bad),), label_names={1: bad})
    text = write_report(data, tmp_path / "report.html").read_text()
    assert "<script>alert" not in text
    assert text.count("</script>") == 2


def test_existing_page_or_figure_is_kept(made_up, tmp_path):
    data, path = ReportData("Rows", (made_up.row(),)), tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"report\.html exists already"):
        write_report(data, path)
    assert path.read_text() == "mine"
    write_report(data, path, overwrite=True)
    with pytest.raises(OutputExistsError, match=r"cases-dice\.svg exists already"):
        write_report(data, tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()
    with pytest.raises(OutputExistsError, match="is a folder"):
        write_report(data, tmp_path, overwrite=True)


def test_full_disk_leaves_nothing_half_written(made_up, tmp_path, monkeypatch):
    def full(self, content):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MachineError, match="No space left on device"):
        write_report(ReportData("Rows", (made_up.row(),)), tmp_path / "report.html")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_page_opens_with_the_tests_of_the_main_metrics_and_keeps_the_others(made_up, tmp_path):
    lines = [
        {"metric": metric, "structure": structure, "method": "a", "p": 0.25}
        for metric, structure in (
            ("dice", "Average"),
            ("dice", "head"),
            ("dice", "head@Ada"),
            ("ece", "all"),
            ("ece", "all@Ada"),
            ("mse", "Average"),
        )
    ]
    data = ReportData("t", (made_up.row(),), comparisons=tuple(lines))
    text = write_report(data, tmp_path / "report.html").read_text()
    main, rest = text.split('id="statistics"')[1].split("Tests of further metrics")
    rest = rest.split("</details>")[0]
    cells = [re.findall(r'<th scope="row">([^<]*)</th>', part) for part in (main, rest)]
    assert cells[0] == ["dice", "Average", "a", "ece", "all", "a"]
    assert cells[1] == ["ece", "all@Ada", "a", "mse", "Average", "a"]
    assert "Tests: head</summary>" in text
