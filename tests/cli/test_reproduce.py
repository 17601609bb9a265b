"""``sfumato reproduce``: every published experiment in small, refusals before any training, going on."""

import csv
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import nibabel
import numpy as np
import pytest

from sfumato.cli.app import run
from sfumato.data.phantoms import write_layout
from sfumato.evaluation.rows import read_rows
from sfumato.recipe.recipe import write_recipe
from sfumato.report import ReportData
from sfumato.report.reproduction import write_pages
from sfumato.reproduction import Reproduction, Results
from sfumato.reproduction.data import Source
from sfumato.reproduction.experiments import EXPERIMENTS, experiment
from sfumato.reproduction.finished import Finished
from sfumato.reproduction.smoke import smoke_recipe


def called(*arguments):
    """Exit status, what was printed, what was complained about."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as complained:
        status = run(["reproduce", *map(str, arguments)])
    return status, said.getvalue(), complained.getvalue()


def cells(out, name):
    with (out / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_runs_in_small_from_data_to_table(name, tmp_path):
    found = experiment(name)
    status, said, complained = called(name, "--smoke", "--out", tmp_path / "out")
    assert (status, complained) == (0, "")
    out = tmp_path / "out"
    for part in found.content.data:
        rows = found.trainings(part.layout)
        assert len(list((out / part.layout / "runs").glob("*/metrics.csv"))) == len(rows)
        page = (out / part.layout / "report.html").read_text()
        assert "Published and ours" in page
        assert "its numbers mean nothing" in page
    lines = cells(out, name)
    printed = [line for line in lines if line["published"]]
    assert len(printed) == sum(len(found.rows[key]) for key in found.rows) or "-figure" in name
    # A tiny network may find nothing, but it was asked for everything.
    assert all(line["ours"] or int(line["undefined"]) for line in lines)
    assert f"{printed[0]['published']} " in said
    pictures = sorted(path.name for path in out.glob("*.svg"))
    assert bool(pictures) == ("-figure" in name)
    if name == "softseg-figures2-4":
        figures = [f"softseg-figure{number}.svg" for number in (2, 3, 4)]
        assert pictures == [*figures, "softseg-figures2-4-centres.svg"]
    for picture in pictures:
        assert (out / picture).with_suffix(".png").stat().st_size > 5000
        assert picture.removesuffix(".svg") in (out / part.layout / "report.html").read_text()
    assert (out / f"{name}.md").read_text().startswith(f"# {name}: ")
    assert "\\begin{tabular}" in (out / f"{name}.tex").read_text()


def test_list_shows_every_experiment_with_its_data_trainings_and_cost():
    status, said, _ = called("--list")
    assert status == 0
    for name in EXPERIMENTS:
        found = experiment(name)
        first = next(iter(found.listed))
        (line,) = (line for line in said.splitlines() if line.startswith(f"{first} "))
        part = found.content.data[0]
        rows, seeds = found.trainings(part.layout), found.content.seeds
        trainings = len(rows) * len(seeds) * (part.folds or 1)
        assert f"({part.layout}) " in line
        assert f" {trainings} " in line
        assert line.split()[-1].startswith("~")
    assert "20 TFLOP/s and 1 TB/s are assumed" in said
    assert "without early stopping; validation and prediction on top." in said


def test_list_has_every_figure_of_a_set_by_its_name_and_counts_its_trainings_once():
    _, said, _ = called("--list")
    lines = said.splitlines()
    names = [line.split()[0] for line in lines[1:] if re.match(r"(geols|singr|svls|softseg)-", line)]
    assert names[-3:] == ["softseg-figure2", "softseg-figure3", "softseg-figure4"]
    assert len(names) == 17  # eleven tables, and the figures of GeoLS, SiNGR, SVLS and SoftSeg: 1, 1, 1 and 3
    assert all(re.fullmatch(r"[a-z]+-(table|figure)\d", name) for name in names)
    start = next(index for index, line in enumerate(lines) if line.startswith("softseg-figure2 "))
    second, third, fourth, *others = lines[start : start + 5]
    assert "SCGM (scgm)  " in second
    assert re.search(r" 20 +[0-9,]+ +~\d+$", second)
    assert third.rstrip().endswith("as above")
    assert fourth.rstrip().endswith("as above")
    for line, kind in zip(others, ("msseg2016", "brats2019"), strict=True):
        assert re.search(rf"\({kind}\) +5 +[0-9,]+ +~\d+$", line)
    assert '"as above": these figures share their trainings' in said


def broken_brats(folder):
    """A BraTS folder with one file missing, one truncated and one mask with a value that means nothing."""
    root = write_layout("brats2019", folder, cases=4)
    patients = sorted(path.parent for path in root.rglob("*_seg.nii.gz"))
    missing = next(patients[0].glob("*_t1ce.nii.gz"))
    missing.unlink()
    truncated = next(patients[1].glob("*_flair.nii.gz"))
    truncated.write_bytes(truncated.read_bytes()[:1500])
    wrong = next(patients[2].glob("*_seg.nii.gz"))
    image = nibabel.load(wrong)
    array = np.asarray(image.dataobj).copy()
    array[0, 0, 0] = 7
    nibabel.save(nibabel.Nifti1Image(array, image.affine), wrong)
    return root, (missing, truncated, wrong)


@pytest.mark.parametrize("option", [(), ("--smoke",)])
def test_broken_folder_is_refused_with_every_problem_before_any_training(tmp_path, option):
    root, files = broken_brats(tmp_path / "data")
    status, said, complained = called("geols-table1", "--data", root, "--out", tmp_path / "out", *option)
    assert status == 2
    for path in files:
        assert complained.count(path.name) == 1
    assert "3 problems" in complained
    assert "7" in complained
    assert "finished" not in said
    assert not (tmp_path / "out").exists()


def test_smoke_takes_the_users_folder_and_goes_on_where_it_was(tmp_path):
    root, out = write_layout("lgg", tmp_path / "data", cases=6), tmp_path / "out"
    arguments = ("singr-table2", "--smoke", "--data", root, "--out", out)
    status, said, _ = called(*arguments, "--methods", "segresnet")
    assert status == 0
    assert "LGG FLAIR: 1 trainings on 4 cases" in said
    assert not (out / "data").exists()
    assert "24 of 27 cells are missing: EoFormer, NestedFormer, UNETR, UNetPP3D" in said
    assert "(not asked for)" in said
    assert "no finished run" not in said
    assert next(line["training"] for line in cells(out, "singr-table2") if line["ours"]) == "SegResnet"
    table = out / "lgg" / "runs" / "segresnet-seed0-fold0" / "metrics.csv"
    first = table.stat().st_mtime_ns
    status, said, _ = called(*arguments, "--methods", "segresnet,unet3d")
    assert status == 0
    assert "[1/2] segresnet-seed0-fold0: finished already" in said
    assert table.stat().st_mtime_ns == first
    both = (out / "singr-table2.csv").read_bytes()
    status, said, _ = called(*arguments, "--methods", "unet3d")
    assert "[1/1] unet3d-seed0-fold0: finished already" in said
    # What is asked for now decides what is trained, not what stands in the tables.
    assert (out / "singr-table2.csv").read_bytes() == both
    assert {line["training"] for line in cells(out, "singr-table2") if line["ours"]} == {
        "SegResnet",
        "UNet3D",
    }
    status, said, _ = called(*arguments, "--methods", "segresnet", "--overwrite")
    assert status == 0
    assert "[1/1] segresnet-seed0-fold0: finished in" in said
    assert table.stat().st_mtime_ns > first


def test_failed_run_is_named_and_the_others_make_the_table(tmp_path, monkeypatch):
    import sfumato.study.executors.here as here

    whole = here.complete_run

    def failing(recipe, *arguments, **options):
        if recipe.name == "LS (0.2)":
            raise OSError("no more disk")
        return whole(recipe, *arguments, **options)

    monkeypatch.setattr(here, "complete_run", failing)
    out = tmp_path / "out"
    status, said, complained = called("svls-table1", "--smoke", "--methods", "ls", "--out", out)
    assert status == 1
    assert "3 of 9 runs failed" in complained
    assert "ls-0.2-seed0-fold0: OSError: no more disk" in complained
    ours = {line["training"] for line in cells(out, "svls-table1") if line["ours"]}
    assert ours == {"LS (0.1)", "LS (0.3)"}
    assert "SVLS (not asked for); LS (0.2) (failed)" in said
    assert (out / "prostatex" / "runs.csv").read_text().count("no more disk") == 1


@pytest.fixture
def small_experiment(tmp_path, monkeypatch):
    """The first experiment, with a recipe that trains in seconds but by the ordinary way."""
    found = experiment("geols-table1")
    folder = tmp_path / "recipes" / "geols-table1"
    folder.mkdir(parents=True)
    shutil.copy(found.folder / "experiment.yaml", folder)
    recipe = smoke_recipe(found.recipes["brats2019", "3D U-Net"])
    write_recipe(recipe.replace(epochs=2), folder / "brats2019.yaml")
    monkeypatch.setattr(
        "sfumato.reproduction.run.experiment", lambda _: dataclasses.replace(found, folder=folder)
    )


@pytest.mark.slow
def test_trainings_run_in_processes_of_their_own(small_experiment, tmp_path, monkeypatch):
    root, out = write_layout("brats2019", tmp_path / "data", cases=5), tmp_path / "out"
    arguments = ("geols-table1", "--data", root, "--out", out, "--methods", "ce", "--seeds", "0,1")
    status, said, complained = called(*arguments, "--jobs", "2")
    assert (status, complained) == (0, "")
    assert "note: BraTS 2019: 5 cases of 335" in said
    assert "BraTS 2019: 2 trainings on 5 cases" in said
    places = {
        (each["training"], each["metric"], each["structure"]): each for each in cells(out, "geols-table1")
    }
    line = places["CE", "DSC", "WT"]
    assert (line["published"], line["n"]) == ("90.09", "2")
    # The same mean by hand, from the runs' own tables.
    runs = [out / "brats2019" / "runs" / f"ce-seed{seed}-fold0" / "metrics.csv" for seed in (0, 1)]
    values = [
        row.value
        for table in runs
        for row in read_rows(table)
        if (row.method, row.metric, row.structure) == ("CE", "dice", "WT")
    ]
    assert float(line["ours"]) == pytest.approx(100 * sum(values) / len(values))
    assert "cells are missing: LS, FL, SVLS, GeoLS (not asked for)" in said
    page = (out / "brats2019" / "report.html").read_text()
    assert "Published and ours" in page
    assert "Case viewer" in page
    monkeypatch.setattr("sfumato.cli.reproduce.write_reproduction", lambda *_: [])
    status, said, _ = called(*arguments)
    assert status == 0
    assert said.count("finished already") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--list shows them all"),
        (("geols-table1",), "give --data, the folder of BraTS 2019 (brats2019); or --smoke"),
        (("geols-table9", "--smoke"), "unknown experiment 'geols-table9'"),
        (("geols-table1", "--smoke", "--methods", "geoll"), "Did you mean"),
        (("geols-table1", "--smoke", "--seeds", "0,x"), "--seeds 0,x: give whole numbers"),
        (("geols-table1", "--data", "nowhere"), "nowhere does not exist"),
        (("geols-table1", "--smoke", "--methods", ""), "--methods is empty"),
        (("geols-table1", "--data", "nowhere", "--methods", " ,"), "--methods is empty"),
        (("geols-table1", "--smoke", "--seeds", ""), "--seeds is empty: give whole numbers"),
        (
            ("geols-table1", "--smoke", "--seeds", "1,1"),
            "seeds are 1, 1: give whole numbers from 0, each once",
        ),
        (("geols-table1", "--smoke", "--dataset", "brats2019"), "give --data too"),
    ],
)
def test_wrong_call_is_one_sentence_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, complained = called(*arguments)
    assert status == 2
    assert message in complained
    assert "Traceback" not in complained
    assert not list(tmp_path.iterdir())


def test_smoke_trains_the_seeds_that_are_asked_for_and_says_that_jobs_change_nothing(tmp_path):
    out = tmp_path / "out"
    arguments = ("svls-table1", "--smoke", "--out", out, "--methods", "svls")
    status, said, complained = called(*arguments, "--seeds", "3,4", "--jobs", "2")
    assert (status, complained) == (0, "")
    names = ["svls-seed3-fold0", "svls-seed4-fold0"]
    assert sorted(path.name for path in (out / "prostatex" / "runs").iterdir()) == names
    assert "note: --smoke trains one at a time, so --jobs 2 changes nothing" in said
    # Made-up cases are not the release, and need not be.
    assert said.count("note: ") == 1
    status, said, _ = called(*arguments, "--seeds", "4")
    assert "--jobs" not in said
    run = out / "prostatex" / "runs" / "svls-seed4-fold0"
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("epochs: 1\n", "epochs: 2\n"))
    status, said, complained = called(*arguments, "--seeds", "3")
    assert (status, complained) == (0, "")
    assert f"not in the tables: {run} holds a run of another recipe" in said
    assert "another recipe" in (out / "svls-table1.md").read_text()


def test_page_leaves_out_what_the_tables_leave_out(tmp_path, monkeypatch):
    options = {}
    monkeypatch.setattr(
        "sfumato.report.reproduction.assemble",
        lambda _, **given: options.update(given) or ReportData("t", rows=()),
    )
    found = experiment("svls-table1")
    finished = {
        "kits2019": Finished((tmp_path,), {}, {}, frozenset({"old"})),
        "prostatex": Finished((), {}, {}, frozenset({"older"})),
    }
    sources = tuple(Source(part, "", "", None, drawn=False, problems=()) for part in found.content.data)
    work = Reproduction(found, sources, {}, tmp_path, smoke=False)
    assert set(work.datasets) >= set(finished)
    pages = write_pages(work, Results((), finished, ()), [])
    assert pages == [tmp_path / "kits2019" / "report.html"]
    assert options["without"] == {"old"}


def test_reproduction_in_a_folder_that_another_process_writes_to_is_refused(tmp_path):
    out = tmp_path / "out"
    hold = "import sys; from pathlib import Path; from sfumato.runs.lock import sole_writer\n"
    hold += "with sole_writer(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        status, said, complained = called("geols-table1", "--smoke", "--out", out)
        assert (status, said) == (2, "")
        assert f"{out} is in use: process {other.pid} on " in complained
        other.communicate()
    assert not out.exists()


def test_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    status, _, complained = called("geols-table1", "--smoke", "--out", tmp_path)
    assert status == 2
    assert "exists already and holds no reproduction" in complained
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
