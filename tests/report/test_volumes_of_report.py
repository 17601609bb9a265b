import numpy as np
import pytest

from sfumato.report import ReportData, write_report
from sfumato.report.volumes import volume_figures, volume_report


@pytest.fixture
def rows(made_up):
    """Two methods, one temperature-scaled too, on four cases, against the consensus and against one rater."""
    found = []
    gaps = {"a": (1.0, 2.0, 2.0, 3.0), "b": (0.0, 0.0, 0.5, 0.0), "a+T": (1.0, 2.0, 2.0, 3.0)}
    for method, several in gaps.items():
        for index, gap in enumerate(several):
            for rater, reference in (("", 10.0 * index), ("Ada", 7.0 * index)):
                place = {
                    "run": f"{method}-seed0",
                    "method": method,
                    "case": f"c{index}",
                    "rater": rater,
                    "structure": "head",
                }
                found.append(made_up.row(**place, metric="volume", value=10.0 * index + gap))
                found.append(made_up.row(**place, metric="volume_ref", value=reference))
    return found


def lines_of(table):
    names = [heading.title for heading in table.headings]
    return [dict(zip(names, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_lines_give_each_methods_agreement_with_the_consensus(rows):
    first, second, scaled = lines_of(volume_report(rows))
    assert (first["structure"], first["method"], first["cases"], first["status"]) == ("head", "a", "4", "ok")
    # Differences 1, 2, 2, 3: mean 2, deviation sqrt(2 / 3).
    assert first["mean difference (ml)"] == "2.000"
    assert first["upper limit (ml)"] == f"{2 + 1.96 * (2 / 3) ** 0.5:.3f}"
    assert second["mean difference (ml)"] == "0.125"
    assert scaled["method"] == "a+T"


def test_plot_marks_every_case_and_scaled_models_have_no_panel(rows):
    figures = volume_figures(rows, ["a", "b", "a+T"])
    assert list(figures) == ["head"]
    first, second = figures["head"].axes
    assert (first.get_title(), second.get_title()) == ("a", "b")
    marks = np.asarray(first.collections[-1].get_offsets())
    assert marks.tolist() == [[0.5, 1.0], [11.0, 2.0], [21.0, 2.0], [31.5, 3.0]]
    heights = {round(line.get_ydata()[0], 4) for line in first.lines}
    assert heights == {0.0, 2.0, round(2 - 1.96 * (2 / 3) ** 0.5, 4), round(2 + 1.96 * (2 / 3) ** 0.5, 4)}


def test_page_has_a_section_of_volumes_where_rows_have_both(rows, made_up, tmp_path):
    write_report(ReportData("t", tuple(rows)), tmp_path / "with" / "report.html")
    text = (tmp_path / "with" / "report.html").read_text()
    assert 'href="#volumes"' in text
    assert "mean difference (ml)" in text
    assert (tmp_path / "with" / "figures" / "volumes-head.svg").is_file()
    alone = ReportData("t", tuple(row for row in rows if row.metric == "volume"))
    write_report(alone, tmp_path / "without" / "report.html")
    assert 'id="volumes"' not in (tmp_path / "without" / "report.html").read_text()


def test_one_case_has_a_line_but_no_plot(rows):
    single = [row for row in rows if row.case == "c1"]
    assert {line["status"] for line in lines_of(volume_report(single))} == {"one case"}
    assert volume_figures(single, ["a", "b", "a+T"]) == {}
