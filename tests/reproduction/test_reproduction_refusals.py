"""What is refused before any training: broken data, and data that the experiment is not for."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from sfumato.cli.app import run
from sfumato.data import open_dataset
from sfumato.data.case import CaseFiles, Dataset, SliceStack
from sfumato.data.phantoms import write_layout
from sfumato.data.readers.layouts import LAYOUTS
from sfumato.errors import DataError
from sfumato.reproduction.data import find_sources, require_sound
from sfumato.reproduction.experiments import experiment
from sfumato.reproduction.misfits import misfits
from tiny_data import write_nnunet

EXPERIMENTS = {
    "brats2019": "geols-table1",
    "brats2020": "singr-table1",
    "flare2021": "geols-table2",
    "kits2019": "svls-table1",
    "prostatex": "svls-table1",
    "lidc": "svls-table2",
    "scgm": "softseg-table3",
    "msseg2016": "softseg-table4",
    "lgg": "singr-table2",
}


def called(*arguments):
    """Exit status and what was complained about."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as complained:
        status = run(["reproduce", *map(str, arguments)])
    return status, complained.getvalue()


def file_of(source):
    return source.paths[0] if isinstance(source, SliceStack) else source


def spoil(path):
    """Write one voxel of a mask with a value that no layout knows."""
    if path.suffix == ".tif":
        array = tifffile.imread(path)
        array[0, 0] = 9
        tifffile.imwrite(path, array)
        return
    image = nibabel.load(path)
    array = np.asarray(image.dataobj).astype(np.uint8)
    array[0, 0, 0] = 9
    nibabel.save(nibabel.Nifti1Image(array, image.affine), path)


def test_every_layout_with_an_experiment_is_tried_here():
    assert set(EXPERIMENTS) == {kind for kind in LAYOUTS if kind != "bids"}


@pytest.fixture
def untrained(monkeypatch):
    """Whoever starts a training fails."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a training was started")

    monkeypatch.setattr("sfumato.reproduction.run.train_runs", refuse)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_a_missing_a_halved_and_a_wrong_file_are_all_listed_before_any_training(tmp_path, kind):
    root = write_layout(kind, tmp_path / "data", cases=4, size=(8, 8, 6))
    first, second, third, *_ = open_dataset(root, layout=kind).cases
    missing, halved = file_of(first.images[-1]), file_of(second.images[0])
    wrong = file_of(third.mask or third.rater_masks[0])
    missing.unlink()
    halved.write_bytes(halved.read_bytes()[: halved.stat().st_size // 2])
    spoil(wrong)
    status, complained = called(EXPERIMENTS[kind], "--data", root, "--out", tmp_path / "out")
    assert status == 2
    title, *lines = complained.strip().splitlines()
    assert title.endswith("3 problems:")
    for files, path in ((first, missing), (second, halved), (third, wrong)):
        (line,) = (line for line in lines if str(path) in line)
        assert f"case {files.name}: " in line
    assert len(lines) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("untrained")
def test_pictures_for_an_experiment_on_volumes_are_refused_once(tmp_path):
    root = write_nnunet(tmp_path / "data", cases=list("abcdef"), description=False)
    shape = (6, 5)
    for path in root.rglob("*.nii.gz"):
        array = np.zeros(shape, np.uint8)
        array[1:3] = 1
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    content = {"labels": {"background": 0, "lesion": 1}, "channel_names": {"0": "FLAIR"}}
    (root / "dataset.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    status, complained = called("softseg-table4", "--data", root, "--dataset", "nnunet", "--out", out)
    assert status == 2
    assert complained.strip().splitlines()[1:] == [
        "  MS brain lesion 2016: the cases are 2-D pictures, but the recipes are for 3-D volumes",
        "  MS brain lesion 2016: the cases have 1 channel (FLAIR), but the recipes are for 5 "
        "(FLAIR, T1, T2, DP, GADO)",
    ]
    assert not out.exists()


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for kind, name in EXPERIMENTS.items()])
def test_the_data_set_of_the_experiment_fits(tmp_path, name, kind):
    found = experiment(name)
    dataset = open_dataset(write_layout(kind, tmp_path, cases=8, size=(4, 4, 4)), layout=kind)
    assert misfits(found.part(kind), dataset, recipes_of(found, kind), axes=[3, 3]) == []


def recipes_of(found, kind):
    """Every row's recipe: its own raters."""
    base = {key[1]: recipe for key, recipe in found.recipes.items() if key[0] == kind}
    return [
        base[row.architecture].replace(method=row.method, label=row.label, loss=row.loss, raters=row.raters)
        for row in found.trainings(kind)
    ]


def told(name, kind, dataset, *, axes=(3,), recipes=None):
    found = experiment(name)
    return misfits(found.part(kind), dataset, recipes or recipes_of(found, kind), axes=axes)


def made(*, labels=("lesion",), channels=("CT",), raters=0, cases=6, **others):
    """A data set of files that are never opened."""
    names = [f"c{number}" for number in range(cases)]
    masks = tuple(Path(f"r{number}.nii") for number in range(raters))
    several = tuple(CaseFiles(name, (Path("i.nii"),), Path("m.nii"), rater_masks=masks) for name in names)
    return Dataset(
        name="mine",
        cases=several,
        label_names=dict(enumerate(("background", *labels))),
        channel_names=tuple(channels),
        rater_names=tuple(f"rater{number + 1}" for number in range(raters)),
        root=Path("mine"),
        **others,
    )


def test_volumes_for_recipes_on_pictures_are_a_misfit():
    found = experiment("softseg-table4")
    (recipe,) = found.recipes.values()
    content = recipe.model_dump(mode="json")
    flat = recipe.replace(
        slice_axis=None,
        preprocess=content["preprocess"] | {"crop_size": None, "spacing": None},
        augment=content["augment"] | {"flip_axes": []},
    )
    assert flat.data_axes == 2
    dataset = made(channels=("FLAIR", "T1", "T2", "DP", "GADO"))
    part = found.part("msseg2016")
    assert misfits(part, dataset, [flat], axes=[3]) == [
        "the cases are 3-D volumes, but the recipes are for 2-D pictures"
    ]
    assert misfits(part, dataset, [flat], axes=[2, 2]) == []
    assert misfits(part, dataset, [], axes=[3]) == []


def test_labels_that_the_table_is_of_are_missed_by_name():
    dataset = made(labels=("kidney", "tumor"))
    assert told("svls-table1", "kits2019", dataset) == [
        "the table is of tumour, but the data set's structures are kidney, tumor: name its labels or regions "
        "so in dataset.json"
    ]
    whole = replace(dataset, regions={"kidney": (1, 2), "tumour": (2,)})
    assert told("svls-table1", "kits2019", whole) == []


def test_labels_of_a_recipes_own_regions_are_missed():
    found = experiment("svls-table1")
    recipe = found.recipes["kits2019", "3D U-Net"].replace(regions={"kidney": [1, 2], "tumour": [2]})
    dataset = made(labels=("organ",))
    assert told("svls-table1", "kits2019", dataset, recipes=[recipe]) == [
        f"the recipe's region {region!r} has label 2, but mine has the labels 0 background, 1 organ"
        for region in ("kidney", "tumour")
    ]


def test_raters_whom_nobody_drew_are_one_sentence():
    assert told("svls-table2", "lidc", made(labels=("nodule",))) == [
        "the recipes and tables are of single raters' masks, but the data set has one mask per case"
    ]
    two = told("svls-table2", "lidc", made(labels=("nodule",), raters=2))
    assert two[-1] == "the table is of the masks of rater3, rater4, but there are rater1, rater2"
    assert "the recipe's raters: unknown rater 'rater3'" in two[0]


def test_cases_without_the_mask_of_a_rater_who_is_trained_on_are_named():
    dataset = made(labels=("nodule",), raters=4)
    first, second, *others = dataset.cases
    three = replace(first, rater_masks=first.rater_masks[:3], raters=(0, 1, 3))
    lacking = replace(dataset, cases=(three, replace(second, rater_masks=()), *others))
    assert told("svls-table2", "lidc", lacking) == [
        "the recipes train on raters: rater1, but there is no such mask of c1",
        "the recipes train on raters: rater2, but there is no such mask of c1",
        "the recipes train on raters: rater3, but there is no such mask of c0, c1",
        "the recipes train on raters: all, but there is no such mask of c1",
    ]


def test_a_split_that_the_cases_do_not_allow_is_told():
    assert told("svls-table1", "kits2019", made(labels=("kidney", "tumour"), cases=2)) == [
        "the recipes' split is not possible: 2 cases or groups cannot be divided into 3 parts"
    ]
    dataset = made(labels=("gray matter",), channels=("T2*w",), raters=4, cases=3)
    assert told("softseg-table3", "scgm", dataset) == [
        "the recipes split by centre, but no centre is told of c0, c1, c2"
    ]


def test_misfits_and_broken_files_are_one_message(tmp_path):
    root = write_layout("kits2019", tmp_path, cases=3, size=(4, 4, 4))
    found = experiment("geols-table1")
    (source,) = find_sources(found, [str(root)], ["kits2019"])
    file_of(source.dataset.cases[0].images[0]).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        require_sound([source], recipes={"brats2019": recipes_of(found, "brats2019")})
    channels, structures, empty = caught.value.problems
    assert "BraTS 2019: the cases have 1 channel (CT), but the recipes are for 4" in channels
    assert "the table is of ET, TC, WT, but the data set's structures are kidney, tumour" in structures
    assert "imaging.nii.gz is empty" in empty
