"""Experiments: strict files, complete recipes, and a plan for every training of the papers."""

import dataclasses
import math
import re

import nibabel
import numpy as np
import pytest
import yaml

from sfumato.data.dataset import open_dataset
from sfumato.data.phantoms import write_layout
from sfumato.errors import InputError, OutputExistsError, RecipeError, UnknownNameError
from sfumato.evaluation import METRICS
from sfumato.methods import method
from sfumato.recipe.recipe import read_recipe
from sfumato.reproduction.costs import cost
from sfumato.reproduction.data import AXIAL, data_folder, find_sources, require_sound
from sfumato.reproduction.experiments import ALIASES, EXPERIMENTS, experiment, read_experiment
from sfumato.reproduction.plan import chosen_trainings, planned_runs
from sfumato.reproduction.published import published_rows
from sfumato.reproduction.smoke import smoke_cases, smoke_recipe

# Rows times runs, as the papers count them: GeoLS 5 x 3, SiNGR 9 x 5 and 8 x 5, SoftSeg 5 x 40, 10 and 15.
TRAININGS = {
    "geols-table1": {"brats2019": 15},
    "geols-table2": {"flare2021": 15},
    "geols-table3": {"brats2019": 15, "flare2021": 15},
    "geols-figure3": {"brats2019": 15, "flare2021": 15},
    "singr-table1": {"brats2020": 45},
    "singr-table2": {"lgg": 45},
    "singr-table3": {"brats2020": 40},
    "singr-figure3": {"brats2020": 30, "lgg": 30},
    "svls-table1": {"brats2019": 5, "kits2019": 5, "prostatex": 5},
    "svls-table2": {"lidc": 6},
    "svls-figure5": {"brats2019": 5, "kits2019": 5, "prostatex": 5, "lidc": 4},
    "softseg-table3": {"scgm": 200},
    "softseg-table4": {"msseg2016": 50},
    "softseg-table5": {"brats2019": 75},
    "softseg-figures2-4": {"scgm": 20, "msseg2016": 5, "brats2019": 5},
}
# Cases, batch, epochs, learning rate, weight decay; 0 and None: not stated.
SETUPS = {
    ("geols-table1", "brats2019", "3D U-Net"): ((235, 32, 68), 4, 200, 1e-4, 1e-4),
    ("geols-table2", "flare2021", "3D U-Net"): ((260, 26, 75), 4, 200, 1e-4, 1e-4),
    ("singr-table1", "brats2020", "TransBTS"): ((236, 59, 74), 2, 0, 1e-4, 1e-5),
    ("singr-table2", "lgg", "UNet3D"): ((70, 18, 22), 2, 0, 1e-4, 1e-5),
    ("svls-table1", "brats2019", "3D U-Net"): ((242, 27, 66), 0, 0, 1e-4, 1e-4),
    ("svls-table1", "kits2019", "3D U-Net"): ((151, 17, 42), 0, 0, 1e-4, 1e-4),
    ("svls-table1", "prostatex", "3D U-Net"): ((70, 8, 20), 0, 0, 1e-4, 1e-4),
    ("svls-table2", "lidc", "3D U-Net"): ((602, 67, 218), 0, 0, 1e-4, 1e-4),
    ("softseg-table3", "scgm", "2D U-Net"): (None, 8, 200, 1e-3, None),
    ("softseg-table4", "msseg2016", "2D U-Net"): ((9, 3, 3), 24, 200, 5e-5, None),
    ("softseg-table5", "brats2019", "2D U-Net"): ((12, 4, 4), 24, 200, 1e-4, None),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_training_of_the_paper_is_planned_with_a_valid_recipe(name):
    found = experiment(name)
    counted = {part.layout: cost(found, part).trainings for part in found.content.data}
    assert counted == TRAININGS[name]
    for part in found.content.data:
        runs = planned_runs(found, part)
        assert len(runs) == TRAININGS[name][part.layout]
        assert len({run.name for run in runs}) == len(runs)
        assert all(run.name == run.recipe.run_name for run in runs)


@pytest.mark.parametrize(("place", "setup"), SETUPS.items())
def test_recipe_has_what_the_paper_says(place, setup):
    name, kind, architecture = place
    recipe = experiment(name).recipes[kind, architecture]
    counts, batch, epochs, rate, decay = setup
    assert recipe.split.counts == counts
    assert recipe.batch_size == batch or not batch
    assert recipe.epochs == epochs or not epochs
    assert recipe.optimizer.learning_rate == rate
    assert recipe.optimizer.weight_decay == decay or decay is None


def test_methods_have_the_options_of_the_paper():
    label = {
        training.name: training.label.options for training in experiment("svls-table1").content.trainings
    }
    assert [label[f"LS ({alpha})"]["alpha"] for alpha in (0.1, 0.2, 0.3)] == [0.1, 0.2, 0.3]
    seeds = {
        training.name: training.label.options for training in experiment("geols-table3").content.trainings
    }
    chosen = ["alpha", "seeds", "num_seeds", "gamma", "preset"]
    assert [seeds["GeoLS (random-7)"][name] for name in chosen] == [0.1, "random", 7, 1.0, "paper"]
    margins = {
        training.name: training.label.options["margin"]
        for training in experiment("singr-table3").content.trainings
        if training.name.startswith("SiNG")
    }
    assert margins.pop("SiNG 0 with Focal-L1") == 0.0
    assert set(margins.values()) == {0.5}
    raters = {training.name: training.raters for training in experiment("svls-table2").content.trainings}
    assert list(raters.values()) == ["rater1", "rater2", "rater3", "all", "consensus", "consensus"]
    for recipe in experiment("softseg-figures2-4").recipes.values():
        assert recipe.network.options["norm_momentum"] == 0.9


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_option_of_label_and_loss_is_written_out(name):
    found = experiment(name)
    for each in (*found.content.trainings, *found.recipes.values()):
        options = method(each.method)
        assert set(each.label.options) == set(options.label_options), each
        assert set(each.loss.options) == set(options.loss_options), each
        # A preset's own choices are options too: none is left to it.
        assert None not in {each.label.options.get(name, "") for name in ("intensity", "channels")}


def test_recipes_of_the_experiments_give_their_reasons():
    for name in EXPERIMENTS:
        found = experiment(name)
        files = {
            (found.folder / file).resolve() for part in found.content.data for file in part.recipes.values()
        }
        for path in files:
            text = path.read_text()
            assert text.startswith("# ")
            assert text.count("#") >= 15
            assert max(map(len, text.splitlines())) <= 125


def test_flips_and_turns_in_three_dimensions_say_what_the_papers_leave_open():
    for name in EXPERIMENTS:
        found = experiment(name)
        for part in found.content.data:
            for file in part.recipes.values():
                text = (found.folder / file).read_text()
                recipe = read_recipe(found.folder / file)
                # A key's line and the comment lines that follow it; nothing where the default holds.
                about = {
                    key: "".join(re.findall(rf"\n  {key}:.*\n(?: {{20,}}#.*\n)*", text))
                    for key in ("flip_axes", "rotation_deg")
                }
                flipped = bool(recipe.augment.flip_axes)
                assert ("whatever the next line says" in about["flip_axes"]) == flipped
                turned = recipe.slice_axis is None and recipe.augment.rotation_deg != 0
                assert ("axes" in about["rotation_deg"]) == turned


def test_only_slices_much_thicker_than_their_pixels_are_not_turned_out_of_their_planes():
    turns = {
        (name, part.layout): (recipe.augment.rotation_deg, recipe.preprocess.spacing)
        for name in ("svls-table1", "svls-table2", "geols-table1", "geols-table2")
        for part in experiment(name).content.data
        for recipe in [experiment(name).recipes[part.layout, "3D U-Net"]]
    }
    assert turns.pop(("svls-table1", "prostatex")) == ((0.0, 0.0, 10.0), (0.5, 0.5, 3.0))
    for angle, spacing in turns.values():
        assert angle == 10.0
        assert spacing is None or max(spacing) / min(spacing) < 2


def test_figures_compute_the_same_spread_as_the_tables_that_they_show():
    spreads = {}
    for name in EXPERIMENTS:
        for part in experiment(name).content.data:
            for table in experiment(name).content.tables:
                if any(row.dataset == part.dataset for row in published_rows(table)):
                    spreads.setdefault((table, part.layout), set()).add(part.spread)
    assert spreads["softseg_table5", "brats2019"] == {"pooled"}
    assert spreads["softseg_table3", "scgm"] == {"printed"}
    assert all(len(found) == 1 for found in spreads.values())


@pytest.mark.parametrize("name", ["svls-table1", "svls-table2", "svls-figure5"])
def test_svls_says_how_its_calibration_errors_are_made(name):
    text = " ".join((experiment(name).folder / "experiment.yaml").read_text().replace("\n# ", " ").split())
    for words in (
        "TACE: the threshold 1e-3",
        "number of bins is not stated",
        "ours is the mean over the cases",
    ):
        assert words in text


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_structures_are_those_of_the_data_set(name, tmp_path):
    found = experiment(name)
    for part in found.content.data:
        dataset = open_dataset(write_layout(part.layout, tmp_path / part.layout, cases=4), layout=part.layout)
        for training in found.trainings(part.layout):
            recipe = found.recipes[part.layout, training.architecture]
            regions = recipe.regions or dataset.regions
            names = set(regions or [name for label, name in dataset.label_names.items() if label])
            assert training.raters in ("consensus", "all", *dataset.rater_names)
            for measure in part.metrics.values():
                for structure in (one for several in measure.structures.values() for one in several):
                    base, _, rater = structure.partition("@")
                    assert base in ({"all"} if METRICS[measure.ours].needs == "probabilities" else names)
                    assert rater in ("", *dataset.rater_names)


def test_splits_follow_the_seed_only_where_the_paper_resplits_and_centres_are_folds():
    found = experiment("softseg-table3")
    runs = planned_runs(found, found.part("scgm"), trainings=["Soft-ReLU-Wing"], seeds=[3, 5])
    assert [(run.recipe.seed, run.recipe.split.seed, run.recipe.split.fold) for run in runs] == [
        (seed, seed, fold) for seed in (3, 5) for fold in range(4)
    ]
    assert {run.recipe.split.by for run in runs} == {"centre"}
    fixed = experiment("geols-table1")
    runs = planned_runs(fixed, fixed.part("brats2019"), trainings=["CE"])
    assert [(run.recipe.seed, run.recipe.split.seed) for run in runs] == [(0, 0), (1, 0), (2, 0)]
    assert [run.name for run in runs] == [f"ce-seed{seed}-fold0" for seed in range(3)]


def test_rows_are_chosen_by_their_name_or_by_their_method():
    svls = experiment("svls-table1")
    assert chosen_trainings(svls, ["svls", "one-hot"]) == ("One-hot", "SVLS")
    assert chosen_trainings(svls, ["ls"]) == ("LS (0.1)", "LS (0.2)", "LS (0.3)")
    assert chosen_trainings(experiment("geols-table3"), ["GeoLS"]) == ("GeoLS",)
    assert len(chosen_trainings(svls, None)) == 5
    with pytest.raises(UnknownNameError, match=r"unknown training of svls-table1 'SLVS'\. Did you mean"):
        chosen_trainings(svls, ["SLVS"])


@pytest.mark.parametrize(("seeds", "text"), [([], "none"), ([0, 0], "0, 0"), ([-1], "-1")])
def test_impossible_seeds_are_refused(seeds, text):
    found = experiment("svls-table2")
    with pytest.raises(InputError, match=f"seeds are {text}: give whole numbers from 0, each once"):
        planned_runs(found, found.part("lidc"), seeds=seeds)


def test_unknown_experiment_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'geols-table1'"):
        experiment("geols-tabel1")
    with pytest.raises(UnknownNameError, match="Did you mean 'softseg-figure"):
        experiment("softseg-figure5")


def test_every_published_name_is_known_and_makes_the_set_that_lists_it():
    for name in EXPERIMENTS:
        found = experiment(name)
        for listed, part in found.listed.items():
            assert re.fullmatch(r"[a-z]+-(table|figure)\d", listed)
            assert experiment(listed).name == name
            assert set(part.data) <= {entry.layout for entry in found.content.data}
    assert set(ALIASES) == set(experiment("softseg-figures2-4").listed)
    assert list(experiment("svls-table2").listed) == ["svls-table2"]


def changed(tmp_path, change):
    content = yaml.safe_load((experiment("svls-table2").folder / "experiment.yaml").read_text())
    change(content)
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "experiment.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("seeds"), "missing key 'seeds'"),
        (lambda c: c.update(seed=[0]), r"unknown key 'seed' \(did you mean 'seeds'\?\)"),
        (
            lambda c: c["trainings"][0].pop("architecture"),
            r"missing key 'trainings\.0\.architecture'; known here: name, data",
        ),
        (
            lambda c: c["trainings"][0].update(method="msvl"),
            "unknown method of training 'One-hot .Set 1.' 'msvl'",
        ),
        (lambda c: c["trainings"][0].update(data=["kits2019"]), "unknown data of training"),
        (lambda c: c["trainings"][0].update(architecture="UNet"), "unknown architecture on lidc 'UNet'"),
        (lambda c: c["trainings"].append(c["trainings"][0]), r"One-hot \(Set 1\) on lidc is given twice"),
        (lambda c: c["data"][0]["metrics"]["DSC"].update(ours="dise"), "unknown metric 'dise'"),
        (lambda c: c.update(tables=["svls_table9"]), "unknown published table 'svls_table9'"),
        (
            lambda c: c.update(listed={"svls-figure9": {"title": "t", "data": ["scgm"]}}),
            "unknown data of svls-figure9 'scgm'",
        ),
    ],
)
def test_mistake_in_the_file_is_named(tmp_path, change, message):
    with pytest.raises(RecipeError, match=message):
        read_experiment(changed(tmp_path, change))


def test_smoke_recipe_is_small_and_keeps_what_makes_the_method():
    for name in EXPERIMENTS:
        found = experiment(name)
        for part in found.content.data:
            for run in planned_runs(found, part, seeds=[0]):
                small = smoke_recipe(run.recipe)
                for key in (
                    "name",
                    "method",
                    "label",
                    "loss",
                    "raters",
                    "regions",
                    "slice_axis",
                    "optimizer",
                    "augment",
                ):
                    assert getattr(small, key) == getattr(run.recipe, key)
                assert small.network.name == run.recipe.network.name
                # After two steps, any other momentum leaves the statistics of no batch at all.
                momentum = run.recipe.network.options.get("norm_momentum")
                assert small.network.options.get("norm_momentum") == momentum
                assert (small.epochs, small.accelerator, small.workers) == (1, "cpu", 0)
                # All cases of a small folder may be one patient's.
                assert small.split.by == ("centre" if part.layout == "scgm" else "case")
                assert math.prod(small.patch.size) <= 64 * 32 * 32


def test_folders_are_told_apart_and_forced_kinds_are_obeyed(tmp_path):
    found = experiment("svls-table1")
    paths = [
        str(write_layout(kind, tmp_path / kind, cases=3)) for kind in ("prostatex", "brats2019", "kits2019")
    ]
    assert [source.part.layout for source in find_sources(found, paths)] == [
        "brats2019",
        "kits2019",
        "prostatex",
    ]
    (one,) = find_sources(found, paths[:1], ["prostatex"])
    assert one.dataset.num_classes == 5
    with pytest.raises(InputError, match="2 --data and 1 --dataset"):
        find_sources(found, paths[:2], ["kits2019"])
    with pytest.raises(InputError, match="are both KiTS 2019"):
        find_sources(found, [paths[2], paths[2]])
    with pytest.raises(InputError, match="--dataset csv does not say which data set of svls-table1"):
        find_sources(found, paths[:1], ["csv"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty is none of the data sets of svls-table1"):
        find_sources(found, [str(tmp_path / "empty")])


def test_drawn_cases_are_the_same_each_time_and_lie_in_the_named_folder(tmp_path):
    folder = write_layout("brats2019", tmp_path / "data", cases=11)
    found = experiment("softseg-table5")
    part = found.part("brats2019")
    few = dataclasses.replace(
        found,
        content=found.content.model_copy(
            update={"data": (part.model_copy(update={"draw": part.draw.model_copy(update={"cases": 4})}),)}
        ),
    )
    (source,) = find_sources(few, [str(folder)])
    assert len(source.dataset.cases) == 4
    assert all("HGG" in files.images[0].parts for files in source.dataset.cases)
    (again,) = find_sources(few, [str(folder)])
    assert again.dataset.names == source.dataset.names
    links = data_folder(source, tmp_path / "links")
    assert open_dataset(links, layout="brats2019").names == source.dataset.names
    assert data_folder(source, tmp_path / "links") == links
    assert require_sound([source]) == [
        "BraTS 2019 (20 subjects): fewer cases are here than in the release: HGG 5 of 259, LGG 6 of 76"
    ]
    (other,) = find_sources(few, [str(write_layout("brats2019", tmp_path / "other", cases=15))])
    with pytest.raises(OutputExistsError, match="links to other cases"):
        data_folder(other, tmp_path / "links")


def test_few_cases_are_the_first_ones_or_one_of_each_centre(tmp_path):
    found = experiment("softseg-table3")
    dataset = open_dataset(write_layout("scgm", tmp_path, cases=8), layout="scgm")
    recipe = found.recipes["scgm", "2D U-Net"]
    few = smoke_cases(dataset, recipe)
    assert len(few) == 4
    assert len({files.centre for files in few}) == 4
    assert (
        smoke_cases(dataset, recipe.replace(split=recipe.split.model_dump() | {"by": "case"}))
        == dataset.cases[:4]
    )


def test_crops_and_slices_of_the_recipes_are_made_for_the_axial_axis():
    for name in EXPERIMENTS:
        for (kind, _), recipe in experiment(name).recipes.items():
            sizes = recipe.preprocess.crop_size or recipe.patch.size
            unlike = [axis for axis, size in enumerate(sizes) if sizes.count(size) == 1]
            if recipe.slice_axis is not None:
                assert AXIAL[kind] == recipe.slice_axis
            elif unlike and kind in AXIAL and kind != "flare2021":
                assert unlike == [AXIAL[kind]]
    # Of three unlike numbers the paper prints the slices first: 112 x 160 x 208.
    assert experiment("geols-table2").recipes["flare2021", "3D U-Net"].preprocess.crop_size[2] == 112


@pytest.mark.parametrize(("kind", "expected"), [("kits2019", 0), ("prostatex", 2)])
def test_cases_whose_slices_lie_along_another_axis_are_noted(tmp_path, kind, expected):
    folder = write_layout(kind, tmp_path / "data", cases=5)
    sources = find_sources(experiment("svls-table1"), [str(folder)])
    assert not [note for note in require_sound(sources) if "axial" in note]
    turned = sources[0].dataset.cases[1:]
    for files in turned:
        for path in (*files.images, files.mask):
            image = nibabel.load(path)
            # The first stored axis goes to the end or the last to the front, and the affine with it.
            order = [1, 2, 0] if expected == 0 else [2, 0, 1]
            affine = image.affine[:, [*order, 3]]
            array = np.asarray(image.dataobj).transpose(order)
            nibabel.save(nibabel.Nifti1Image(array, affine), path)
    sources = find_sources(experiment("svls-table1"), [str(folder)], [kind])
    (note,) = (note for note in require_sound(sources) if "axial" in note)
    where, there = ("first", "third") if expected == 0 else ("third", "first")
    assert f": 4 of 5 cases do not store their axial slices along the {where} axis" in note
    names = ", ".join(f"{files.name} ({there})" for files in turned[:3])
    assert note.endswith(f"made: {names}, …")
