"""The table of metrics: one from outside the package is computed and shown as those of the package are."""

import pytest
import torch

from sfumato import metrics
from sfumato.evaluation import (
    METRICS,
    CaseReference,
    Metric,
    Origin,
    ScoringOptions,
    SoftPrediction,
    evaluate_case,
)
from sfumato.evaluation.metrics_table import default_metrics
from sfumato.statistics import summary_table
from sfumato.statistics.directions import direction_of
from sfumato.structures import CLASSES, Structures
from sfumato.tables.results import overall_tables, structure_tables, terminal_table


def wrong_share(pair):
    """Share of the voxels on which prediction and reference differ."""
    return (pair.prediction ^ pair.reference).double().mean()


@pytest.fixture
def added(monkeypatch):
    """A metric from outside, for the length of one test."""
    metric = Metric(
        name="wrong_share",
        title="Wrong voxels",
        unit="fraction",
        better="down",
        group="Overlap",
        needs="masks",
        function=wrong_share,
        shown_in=("summary", "terminal"),
    )
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric


def rows(method="ce", *, wrong=1):
    reference = torch.zeros(4, 5, dtype=torch.int64)
    reference[1:3, 1:4] = 1
    prediction = reference.clone()
    prediction.view(-1)[:wrong] = 1
    scored = []
    for case in "ab":
        origin = Origin(f"{method}-seed0", method, "made", 0, None, case)
        scored += evaluate_case(
            prediction, CaseReference(Structures.numbered(2), (1.0, 1.0), origin, reference)
        )
    return scored


def test_a_metric_from_outside_is_scored_by_default(added):
    values = {row.value for row in rows() if row.metric == "wrong_share"}
    assert values == {1 / 20}
    assert "wrong_share" in default_metrics()
    assert ScoringOptions(metrics=("wrong_share",)).chosen("masks") == [added]


def test_a_metric_from_outside_is_shown_with_title_direction_and_group(added):
    both = [*rows(), *rows("ls", wrong=2)]
    assert direction_of("wrong_share") == "down"
    summary = summary_table(both, unit="case", resamples=0)
    (table,) = overall_tables(summary)
    column = [heading.title for heading in table.headings].index("Wrong voxels")
    assert [row[column].emphasis for row in table.rows] == ["best", "second"]
    (group,) = [one for one in structure_tables(summary)["label 1"] if one.title == "Overlap"]
    assert "Wrong voxels" in [heading.title for heading in group.headings]
    assert "wrong_share" in [heading.title for heading in terminal_table(both).headings]


def test_surfaces_and_bins_are_computed_once_however_many_metrics_read_them(monkeypatch):
    counts = {"surface_distances": 0, "update": 0}
    surfaces, update = metrics.surface_distances, metrics.CalibrationBins.update

    def counted_surfaces(*arguments, **options):
        counts["surface_distances"] += 1
        return surfaces(*arguments, **options)

    def counted_update(*arguments, **options):
        counts["update"] += 1
        return update(*arguments, **options)

    monkeypatch.setattr(metrics, "surface_distances", counted_surfaces)
    monkeypatch.setattr(metrics.CalibrationBins, "update", counted_update)
    reference = torch.randint(0, 2, (4, 5), generator=torch.Generator().manual_seed(0))
    probs = torch.stack([1 - reference, reference]).float() * 0.5 + 0.25
    case = CaseReference(Structures.numbered(2), (1.0, 1.0), Origin("r", "m", "d", 0, 0, "c"), reference)
    options = ScoringOptions(
        metrics=("hd95", "hd", "assd", "masd", "surface_dice", "ece", "mce", "ace", "classwise_ece", "nll")
    )
    assert len(evaluate_case(reference, case, soft=SoftPrediction(probs, CLASSES), options=options)) == 10
    assert counts == {"surface_distances": 1, "update": 1}


def test_every_metric_of_the_table_is_computed_by_its_own_entry():
    assert all(name == metric.name for name, metric in METRICS.items())
    assert {metric.needs for metric in METRICS.values()} == {
        *("masks", "maps", "probabilities", "rater_masks", "rater_maps", "rater_pairs")
    }
