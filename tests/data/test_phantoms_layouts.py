import csv
import dataclasses
import json

import nibabel
import numpy as np
import pytest
import tifffile

from sfumato.data import inspect_dataset, read_volume
from sfumato.data.phantoms import LAYOUT_NAMES, Appearance, anatomies, write_layout
from sfumato.errors import OutputExistsError, ShapeError, UnknownNameError, ValueRangeError

BRATS19 = "MICCAI_BraTS_2019_Data_Training/"
BRATS20 = "MICCAI_BraTS2020_TrainingData/"


def brats(folder, name, ending, mask=None):
    files = [f"{name}_{channel}{ending}" for channel in ("flair", "t1", "t1ce", "t2")]
    return {f"{folder}{name}/{file}" for file in [*files, f"{mask or f'{name}_seg'}{ending}"]}


def lgg(name):
    return {
        f"kaggle_3m/{name}/{name}_{number}{ending}.tif" for number in range(1, 7) for ending in ("", "_mask")
    }


def msseg(folder):
    channels = {
        f"{folder}/Preprocessed_Data/{channel}_preprocessed.nii.gz"
        for channel in ("FLAIR", "T1", "T2", "DP", "GADO")
    }
    masks = {f"ManualSegmentation_{number}" for number in range(1, 8)} | {"Consensus"}
    return channels | {f"{folder}/Masks/{mask}.nii.gz" for mask in masks}


def nnunet(name, channels):
    images = {f"imagesTr/{name}_{channel:04d}.nii.gz" for channel in range(channels)}
    return images | {f"labelsTr/{name}.nii.gz"}


def bids(name):
    manual = f"derivatives/manual/{name}/anat/{name}"
    return {
        f"{name}/anat/{name}_T1w.nii.gz",
        f"{name}/anat/{name}_FLAIR.nii.gz",
        f"{manual}_desc-rater1_dseg.nii.gz",
        f"{manual}_desc-rater2_dseg.nii.gz",
        f"{manual}_label-lesion_probseg.nii.gz",
    }


def row(name):
    columns = ("image", "mask", "mask_rater1", "mask_rater2", "mask_rater3", "soft")
    return {f"files/{name}_{column}.nii.gz" for column in columns}


FILES = {
    "brats2019": brats(f"{BRATS19}HGG/", "BraTS19_2013_1_1", ".nii.gz")
    | brats(f"{BRATS19}LGG/", "BraTS19_2013_2_1", ".nii.gz"),
    "brats2020": brats(BRATS20, "BraTS20_Training_001", ".nii")
    | brats(BRATS20, "BraTS20_Training_355", ".nii", "W39_1998.09.19_Segm"),
    "flare2021": {
        f"{folder}/train_00{number}{ending}.nii.gz"
        for number in (0, 1)
        for folder, ending in (("TrainingImg", "_0000"), ("TrainingMask", ""))
    },
    "kits2019": {
        f"data/case_0000{number}/{file}.nii.gz" for number in (0, 1) for file in ("imaging", "segmentation")
    },
    "prostatex": nnunet("case_001", 1) | nnunet("case_002", 1) | {"dataset.json"},
    "lidc": {
        f"LIDC-IDRI-000{case}/{file}.nii.gz"
        for case in (1, 2)
        for file in ("image", *(f"mask_rater{rater}" for rater in range(1, 5)))
    },
    "scgm": {
        f"site{site}-sc01-{file}.nii.gz"
        for site in (1, 2)
        for file in ("image", *(f"mask-r{rater}" for rater in range(1, 5)))
    },
    "msseg2016": msseg("Center_01/Patient_01") | msseg("Center_07/Patient_01"),
    "lgg": lgg("TCGA_XX_4941_20000101") | lgg("TCGA_XX_4942_20000101"),
    "bids": bids("sub-01")
    | bids("sub-02")
    | {"dataset_description.json", "participants.tsv"}
    | {"derivatives/manual/dataset_description.json", "derivatives/manual/dseg.tsv"},
    "nnunet": nnunet("case_001", 2) | nnunet("case_002", 2) | {"dataset.json"},
    "csv": row("case1") | row("case2") | {"manifest.csv", "dataset.json"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("layouts")
    return {kind: (base / kind, write_layout(kind, base / kind, cases=2)) for kind in LAYOUT_NAMES}


def values(path):
    return np.unique(read_volume(path).array).tolist()


def mask_paths(root):
    words = ("seg", "Segm", "mask", "Mask", "labelsTr", "ManualSeg", "Consensus")
    paths = [path for path in root.rglob("*.*") if any(word in str(path.relative_to(root)) for word in words)]
    return sorted(
        path for path in paths if path.suffix in (".nii", ".gz", ".tif") and "probseg" not in path.name
    )


@pytest.mark.parametrize("kind", LAYOUT_NAMES)
def test_the_files_are_those_of_the_release_and_no_others(folders, kind):
    base, root = folders[kind]
    assert {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()} == FILES[kind]
    assert root == (
        base / sorted(FILES[kind])[0].split("/")[0] if kind in ("brats2019", "brats2020", "lgg") else base
    )


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("brats2019", [0, 1, 2, 4]),
        ("brats2020", [0, 1, 2, 4]),
        ("flare2021", [0, 1, 2, 3, 4]),
        ("kits2019", [0, 1, 2]),
        ("prostatex", [0, 1, 2, 3, 4]),
        ("lidc", [0, 1]),
        ("scgm", [0, 1, 2]),
        ("msseg2016", [0, 1]),
        ("bids", [0, 1]),
        ("nnunet", [0, 1, 2]),
        ("csv", [0, 1]),
    ],
)
def test_every_value_of_the_release_is_stored_and_no_other(folders, kind, stored):
    found = [values(path) for path in mask_paths(folders[kind][1])]
    assert sorted({value for each in found for value in each}) == stored
    assert found[0] == stored


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("brats2019", [0, 1, 2]),
        ("brats2020", [0, 1, 2]),
        ("flare2021", [0, 1, 2, 3]),
        ("kits2019", [0, 1]),
        ("prostatex", [0, 1, 2, 3]),
        ("bids", [0]),
        ("nnunet", [0, 1]),
        ("csv", [0]),
        ("lidc", [0, 1]),
        ("scgm", [0, 1, 2]),
        ("msseg2016", [0, 1]),
    ],
)
def test_the_last_of_several_cases_lacks_a_class_where_the_release_has_such_cases(folders, kind, last):
    assert values(mask_paths(folders[kind][1])[-1]) == last


@pytest.mark.parametrize("kind", LAYOUT_NAMES)
def test_a_single_case_has_every_class_even_when_it_is_smaller(kind, tmp_path):
    root = write_layout(kind, tmp_path, cases=1, size=(16, 18, 10))
    sizes = {read_volume(path).array.shape for path in mask_paths(root)}
    assert sizes == ({(16, 18)} if kind == "lgg" else {(16, 18, 10)})
    joined = {value for path in mask_paths(root) for value in values(path)}
    most = {"flare2021": 5, "prostatex": 5, "brats2019": 4, "brats2020": 4}
    assert len(joined) == most.get(kind, 3 if kind in ("kits2019", "scgm", "nnunet") else 2)


@pytest.mark.parametrize("kind", [kind for kind in LAYOUT_NAMES if kind != "lgg"])
def test_all_files_of_a_case_lie_on_one_grid_with_the_stated_spacing(folders, kind):
    paths = [*folders[kind][1].rglob("*.nii.gz"), *folders[kind][1].rglob("*.nii")]
    affines = {nibabel.load(path).affine.tobytes() for path in paths}
    assert len(affines) == 1
    spacing = {"kits2019": (3.0, 0.8, 0.8), "scgm": (0.5, 0.5, 5.0), "prostatex": (0.5, 0.5, 3.0)}
    if kind in spacing:
        assert read_volume(paths[0]).spacing == pytest.approx(spacing[kind])


def test_the_consensus_is_what_most_raters_marked(folders):
    masks = folders["msseg2016"][1] / "Center_01" / "Patient_01" / "Masks"
    raters = np.stack([read_volume(masks / f"ManualSegmentation_{n}.nii.gz").array for n in range(1, 8)])
    np.testing.assert_array_equal(read_volume(masks / "Consensus.nii.gz").array, raters.sum(axis=0) >= 4)
    assert len({rater.tobytes() for rater in raters}) == 7


def test_lgg_slices_are_8_bit_colours_with_masks_of_0_and_255(folders):
    patient = folders["lgg"][1] / "TCGA_XX_4941_20000101"
    pictures = [tifffile.imread(path) for path in sorted(patient.glob("*[0-9].tif"))]
    assert {(picture.shape, picture.dtype.name) for picture in pictures} == {((32, 32, 3), "uint8")}
    masks = [tifffile.imread(patient / f"{patient.name}_{number}_mask.tif") for number in range(1, 7)]
    assert {(mask.shape, mask.dtype.name) for mask in masks} == {((32, 32), "uint8")}
    assert np.unique(masks).tolist() == [0, 255]
    # FLAIR, the green channel, is brightest in the abnormality.
    assert pictures[3][..., 1][masks[3] > 0].mean() > 150


def test_a_skull_stripped_image_is_0_outside_the_brain_and_only_there(folders):
    case = folders["brats2019"][1] / "HGG" / "BraTS19_2013_1_1"
    images = [
        read_volume(case / f"{case.name}_{channel}.nii.gz").array for channel in ("flair", "t1", "t1ce", "t2")
    ]
    outside = [image == 0 for image in images]
    assert all((other == outside[0]).all() for other in outside)
    assert 0.3 < outside[0].mean() < 0.7
    labels = read_volume(case / f"{case.name}_seg.nii.gz").array
    assert not (outside[0] & (labels > 0)).any()


def test_dark_tissue_is_never_stored_as_the_air_around_it():
    dark = dataclasses.replace(
        anatomies.BRATS, appearance=Appearance(means=((-9.0, -9.0, -9.0, -9.0),)), air=0
    )
    made = anatomies.case_phantom(dark, size=(12, 12, 12), seed=(0, 0), lacking=None)
    stored = anatomies.stored_image(dark, made)
    assert np.unique(stored).tolist() == [0, 1]
    assert stored[0][made.labels.numpy() > 0].min() == 1


@pytest.mark.parametrize(
    ("kind", "channels", "classes", "raters"),
    [
        ("brats2019", 4, 4, 0),
        ("brats2020", 4, 4, 0),
        ("flare2021", 1, 5, 0),
        ("kits2019", 1, 3, 0),
        ("prostatex", 1, 5, 0),
        ("lidc", 1, 2, 4),
        ("scgm", 1, 3, 4),
        ("msseg2016", 5, 2, 7),
        ("lgg", 3, 2, 0),
        ("bids", 2, 2, 2),
        ("nnunet", 2, 3, 0),
        ("csv", 1, 2, 3),
    ],
)
def test_the_reader_finds_the_layout_by_itself_and_reads_it_without_a_problem(
    folders, kind, channels, classes, raters
):
    found = inspect_dataset(folders[kind][1])
    assert found.problems == []
    assert len(found.dataset.channel_names) == channels
    assert found.dataset.num_classes == classes
    assert dict(found.raters) == {raters: 2}
    assert found.cases_with_label[classes - 1] >= 1


def test_descriptions_name_labels_channels_and_patients(folders):
    description = json.loads((folders["prostatex"][1] / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "PZ": 1, "TZ": 2, "DPU": 3, "AFS": 4}
    assert description["channel_names"] == {"0": "T2w"}
    with (folders["csv"][1] / "manifest.csv").open() as file:
        assert [line["group"] for line in csv.DictReader(file)] == ["patient1", "patient1"]
    bids_root = folders["bids"][1]
    derivative = json.loads((bids_root / "derivatives" / "manual" / "dataset_description.json").read_text())
    assert derivative["DatasetType"] == "derivative"
    assert (bids_root / "participants.tsv").read_text().split() == ["participant_id", "sub-01", "sub-02"]


def test_a_seed_fixes_every_voxel_and_more_cases_leave_the_earlier_ones(tmp_path):
    def voxels(name, **options):
        root = write_layout("scgm", tmp_path / name, size=(12, 12, 4), **options)
        return {path.name: read_volume(path).array.tobytes() for path in sorted(root.iterdir())}

    first = voxels("a", cases=2)
    assert voxels("b", cases=2) == first
    assert first.items() <= voxels("c", cases=5).items()
    other = voxels("d", cases=2, seed=1)
    assert all(other[name] != first[name] for name in first if "image" in name)
    assert first["site1-sc01-image.nii.gz"] != first["site2-sc01-image.nii.gz"]


def test_five_cases_fill_all_sites_and_then_the_second_subject(tmp_path):
    root = write_layout("scgm", tmp_path, cases=5, size=(8, 8, 4))
    images = sorted(path.name[:10] for path in root.glob("*-image.nii.gz"))
    assert images == ["site1-sc01", "site1-sc02", "site2-sc01", "site3-sc01", "site4-sc01"]


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown layout 'brats'"):
        write_layout("brats", tmp_path)
    with pytest.raises(ValueRangeError, match="cases is 0"):
        write_layout("csv", tmp_path, cases=0)
    with pytest.raises(ShapeError, match="size has 2 values"):
        write_layout("csv", tmp_path, size=(8, 8))
    with pytest.raises(ValueRangeError, match="at least 4 voxels"):
        write_layout("csv", tmp_path, size=(8, 8, 3))
    assert list(tmp_path.iterdir()) == []
    write_layout("csv", tmp_path, cases=1)
    with pytest.raises(OutputExistsError, match="exists already"):
        write_layout("csv", tmp_path, cases=1)
