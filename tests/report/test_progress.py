"""The picture of a prediction that grows: which panels there are, and what they show."""

import dataclasses
import shutil

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex

from sfumato.errors import FileFormatError, ShapeError
from sfumato.report import Progression, ReportData, figures, load_runs, write_report
from sfumato.report.progress import RED, first_progressions, progress_panels, slice_text


def progression(epochs, *, shape=(30, 20), axis=2, **changes):
    """A prediction that is the share of the epochs done on the reference, a box off the middle."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    reference = np.zeros(shape, dtype=bool)
    reference[4:12, 3:8] = True
    predictions = {epoch: (reference * epoch / max(epochs)).astype(np.float16) for epoch in epochs}
    made = Progression("case7", "lesion", axis, 4, (1.0, 2.0), image, reference, predictions)
    return dataclasses.replace(made, **changes)


def panels(figure):
    """The panels as rows, and the bar, by their places in the figure."""
    *found, bar = figure.axes
    rows = sorted({axes.get_position().y0 for axes in found}, reverse=True)
    return [[axes for axes in found if axes.get_position().y0 == row] for row in rows], bar


def test_every_method_has_a_row_and_every_epoch_a_column_with_the_last_apart():
    figure = progress_panels({"a": progression([1, 2, 5, 10]), "b": progression([1, 2, 3])})
    (first, second), _ = panels(figure)
    titles = [axes.get_title() for axes in first]
    assert titles == ["Epoch 1", "Epoch 2", "Epoch 5", "Last epoch"]
    assert [axes.get_ylabel() for axes in first] == ["a", "", "", ""]
    assert [axes.get_xlabel() for axes in (first[-1], second[-1])] == ["epoch 10", "epoch 3"]
    # The second training was over before epoch 5.
    assert [len(axes.images) for axes in second] == [2, 2, 0, 2]
    assert progress_panels({}) is None


def test_epoch_that_is_one_trainings_last_is_another_ones_column_too():
    figure = progress_panels({"a": progression([1, 2, 5]), "b": progression([1, 2])})
    (first, second), _ = panels(figure)
    assert [axes.get_title() for axes in first] == ["Epoch 1", "Epoch 2", "Last epoch"]
    assert [len(axes.images) for axes in second] == [2, 2, 2]


def test_prediction_lies_over_the_grey_image_transparent_at_0_and_red_at_1():
    shown = progression([1, 4])
    figure = progress_panels({"a": shown})
    ((early, last),), bar = panels(figure)
    image, over = last.images
    assert image.get_cmap() == colormaps["gray"]
    assert (over.get_cmap()(0.0), over.get_cmap()(1.0)) == ((1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    assert over.norm(0.25) == 0.25
    assert {float(value) for value in np.unique(early.images[1].get_array())} == {0.0, 0.25}
    assert bar.get_xlabel() == "Prediction; 0 is transparent\nBlue line: the reference"
    assert RED(0.5)[3] == pytest.approx(0.5, abs=0.01)


def test_slice_of_a_volume_is_turned_and_cut_around_the_reference_with_its_own_proportions():
    shown = progression([1])
    (((axes,),), _) = panels(progress_panels({"a": shown}))
    image, over = axes.images
    # The first axis runs to the right, the second upwards; the box is 8 x 5 voxels of 1 x 2 mm.
    whole = shown.reference.T[::-1]
    assert over.get_array().sum() == 40
    rows, columns = np.nonzero(over.get_array())
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (5, 8)
    assert over.get_array().shape < whole.shape
    assert axes.get_aspect() == 2.0
    # The image rises along both axes: its brightest corner is the upper right one.
    grey = image.get_array()
    assert grey[0, -1] == grey.max()
    (((picture,),), _) = panels(progress_panels({"a": progression([1], axis=None)}))
    assert picture.get_aspect() == 0.5
    rows, columns = np.nonzero(picture.images[1].get_array())
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (8, 5)


def outlined(axes):
    """The voxels that the blue line goes round, from its pieces alone."""
    casing, line = axes.collections
    assert to_hex(line.get_colors()[0]) == "#56b4e9"
    assert line.get_linewidths()[0] < casing.get_linewidths()[0] < 2.0
    rows, columns = axes.images[0].get_array().shape
    inside = np.zeros((rows, columns), dtype=bool)
    # A piece between two voxels side by side, or one above the other, switches all that lies to its right.
    for (x0, y0), (x1, y1) in line.get_segments():
        if x0 == x1:
            inside[int(min(y0, y1) + 0.5), int(x0 + 0.5) :] ^= True
    return inside


def test_thin_line_follows_the_edges_of_the_references_voxels_on_every_prediction():
    reference = np.zeros((30, 20), dtype=bool)
    reference[4:12, 3:8] = reference[12:14, 5] = True
    reference[6:8, 4:6] = False
    shown = progression([1, 2], reference=reference)
    ((row,), _) = panels(progress_panels({"a": shown}))
    for axes in row:
        found = outlined(axes)
        assert found.sum() == reference.sum()
        rows, columns = np.nonzero(found)
        cut = found[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.array_equal(cut, reference[4:14, 3:8].T[::-1])


def test_slice_without_a_reference_is_shown_whole_and_without_a_line():
    shown = progression([1], reference=np.zeros((30, 20), dtype=bool))
    (((axes,),), _) = panels(progress_panels({"a": shown}))
    assert axes.images[0].get_array().shape == (20, 30)
    assert not outlined(axes).any()


def test_slice_is_named_counted_from_1_and_a_picture_has_none():
    assert slice_text([progression([1])] * 2) == "lesion, validation case case7, slice 5"
    picture = progression([1], axis=None, index=0, case="b")
    assert slice_text([picture, progression([1])]) == (
        "lesion, validation case b; lesion, validation case case7, slice 5"
    )


def test_array_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"image of slice 4 of case7"):
        progression([1], predictions={1: np.zeros((30, 21))})


@pytest.fixture
def own_runs(runs_folder, tmp_path):
    return shutil.copytree(runs_folder, tmp_path / "runs")


def stored(path, **changes):
    shown = progression([1, 2, 5])
    content = {
        "case": np.array(shown.case),
        "structure": np.array(shown.structure),
        "axis": np.array(2),
        "slice": np.array(4),
        "spacing": np.array(shown.spacing),
        "image": shown.image,
        "reference": shown.reference,
        "epochs": np.array([1, 2, 5]),
        "predictions": np.stack(list(shown.predictions.values())),
    }
    content = {name: array for name, array in (content | changes).items() if array is not None}
    np.savez_compressed(path, **content)


def test_runs_that_kept_predictions_are_on_the_page_one_row_per_method(own_runs, tmp_path):
    for run in ("ce-seed1-fold0", "singr-seed0-fold0"):
        stored(own_runs / run / "snapshots.npz")
    stored(own_runs / "ce-seed0-fold0" / "snapshots.npz", axis=np.array(-1), case=np.array("first"))
    data = load_runs(own_runs)
    assert list(data.progressions) == ["ce-seed0-fold0", "ce-seed1-fold0", "singr-seed0-fold0"]
    assert data.progressions["ce-seed0-fold0"].axis is None
    found = data.progressions["singr-seed0-fold0"]
    assert (found.axis, found.index, found.spacing, found.last) == (2, 4, (1.0, 2.0), 5)
    np.testing.assert_array_equal(found.predictions[2], progression([1, 2, 5]).predictions[2])
    assert {name: each.case for name, each in first_progressions(data).items()} == {
        "ce": "first",
        "singr": "case7",
    }
    page = write_report(data, tmp_path / "report.html").read_text()
    assert "Predictions while learning" in page
    assert "lesion, validation case case7, slice 5" in page
    assert (tmp_path / "figures" / "progress.png").stat().st_size > 5000


def test_page_without_such_runs_says_nothing_of_them(tmp_path):
    page = write_report(ReportData("t", ()), tmp_path / "report.html").read_text()
    assert "while learning" not in page


@pytest.mark.parametrize("broken", ["cut", "without epochs", "other shape"])
def test_broken_file_is_named(own_runs, broken):
    path = own_runs / "ce-seed0-fold0" / "snapshots.npz"
    changes = {"without epochs": {"epochs": None}, "other shape": {"image": np.zeros((3, 4))}}
    stored(path, **changes.get(broken, {}))
    if broken == "cut":
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError, match=r"cannot read .*snapshots\.npz"):
        load_runs(own_runs)


def test_figure_is_drawn_in_the_reports_style():
    with figures.styled():
        progress_panels({"a": progression([1, 2]), "b": progression([1])}).draw_without_rendering()
