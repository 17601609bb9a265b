from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

import sfumato
from sfumato.data import check_dataset, samples
from sfumato.errors import UnknownNameError

ROOT = Path(sfumato.__file__).parent / "samples"


@pytest.mark.parametrize(
    ("name", "cases", "axes", "classes", "raters"),
    [("hippocampus", 70, 3, 3, 0), ("cells", 26, 2, 2, 10), ("spinal-cord", 1, 3, 3, 0)],
)
def test_every_sample_is_whole(name, cases, axes, classes, raters):
    loaded = samples.load(name)
    dataset = samples.dataset(name)
    assert len(loaded) == cases == len(set(dataset.names))
    assert dataset.num_classes == classes
    assert len(dataset.rater_names) == raters
    for case in loaded:
        assert len(case.spacing) == axes
        assert set(torch.unique(case.labels).tolist()) == set(range(classes))
        assert (0 if case.labels_per_rater is None else len(case.labels_per_rater)) == raters
        assert case.image.std() > 0


def test_samples_are_clean_small_and_licensed():
    assert check_dataset("sample:spinal-cord") == []
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) <= 8e6
    for name in samples.NAMES:
        text = (ROOT / name / "README.md").read_text()
        assert "Source" in text
        assert "Licence" in text
        assert "Citation" in text


def test_hippocampus_intensities_and_grid_are_the_files_own():
    case = samples.load("hippocampus")[0]
    stored = nibabel.load(ROOT / "hippocampus" / "imagesTr" / f"{case.name}_0000.nii.gz")
    np.testing.assert_array_equal(case.image[0].numpy(), stored.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(case.affine, stored.affine)
    assert case.spacing == (1.0, 1.0, 1.0)


def test_the_spinal_cord_is_anisotropic_and_its_grey_matter_lies_inside():
    (case,) = samples.load("spinal-cord")
    np.testing.assert_allclose(case.spacing, (0.5, 0.5, 7.5), rtol=1e-5)
    assert case.shape == (49, 54, 9)
    # The counts of the source's two masks: 519 voxels of grey matter in a cord of 2885.
    assert int((case.labels == 2).sum()) == 519
    assert int((case.labels >= 1).sum()) == 2885
    assert dict(samples.dataset("spinal-cord").regions) == {"cord": (1, 2), "grey_matter": (2,)}


def test_the_raters_of_the_cells_disagree():
    case = samples.load("cells")[0]
    assert len(torch.unique(case.labels_per_rater.flatten(1).sum(1))) > 1
    assert case.spacing == (1.0, 1.0)


def test_an_unknown_sample_is_met_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="Known: hippocampus, cells, spinal-cord"):
        samples.load("brain")
