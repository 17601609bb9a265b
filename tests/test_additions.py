"""What an addition touches: parts from outside the package work, and those inside stand where they should."""

import ast
import importlib.util
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

import sfumato
from sfumato.cli.app import run
from sfumato.data import open_dataset
from sfumato.data.readers.layouts import LAYOUTS
from sfumato.errors import InputError
from sfumato.evaluation import METRICS, evaluate_folder, metrics_table, read_rows
from sfumato.labels.table import LABELS
from sfumato.losses.table import LOSSES
from sfumato.methods import compose, method
from sfumato.methods import table as methods_table
from sfumato.methods.compose import require_fitting
from sfumato.networks import NETWORKS, build
from sfumato.statistics import compare
from tiny_cases import write_cases

SOURCE = Path(sfumato.__file__).parent

# The worked examples of the page, by the file that each is for.
PAGE = (SOURCE.parents[1] / "docs" / "adding.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL)
FILES = {path: text for path, text in EXAMPLES if '"""' in text}
LINES = {path: text for path, text in EXAMPLES if '"""' not in text}
(RECIPE,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def load_example(path, monkeypatch, name="example"):
    """Run an example's file, as the module of a name."""
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(FILES[path], path, "exec"), vars(module))
    return module


def test_a_label_a_loss_and_a_metric_from_outside_are_trained_scored_and_shown(tmp_path, monkeypatch):
    metric = load_example("src/sfumato/metrics/wrong_share.py", monkeypatch)
    names = vars(metrics_table) | vars(metric)
    own = eval(LINES["src/sfumato/evaluation/metrics_table.py"], names)
    monkeypatch.setitem(METRICS, own.name, own)
    monkeypatch.chdir(tmp_path)
    Path("own_parts.py").write_text(FILES["own_parts.py"])
    Path("recipe.yaml").write_text(RECIPE)
    write_cases(tmp_path / "data", axes=2)
    assert run(["train", "recipe.yaml", "--data", "data", "-o", "run"]) == 0
    rows = [row for row in read_rows(Path("run/metrics.csv")) if row.metric == "wrong_share"]
    assert rows
    assert all(row.unit == "fraction" and 0 <= row.value <= 1 for row in rows)
    assert "Wrong share" in Path("run/report.html").read_text(encoding="utf-8")
    assert run(["predict", "run", "data", "-o", "out"]) == 0
    frame = evaluate_folder("out", "data", metrics=["wrong_share"])
    assert set(frame["metric"]) == {"wrong_share"}
    assert len(frame) == 12  # six cases of two structures
    assert method("own_parts:FLAT_GAP").loss_row.make.__name__ == "Gap"
    sys.modules.pop("own_parts")


def test_methods_are_compared_in_a_metric_from_outside_in_its_direction(tmp_path, monkeypatch):
    metric = load_example("src/sfumato/metrics/wrong_share.py", monkeypatch)
    own = eval(LINES["src/sfumato/evaluation/metrics_table.py"], vars(metrics_table) | vars(metric))
    monkeypatch.setitem(METRICS, own.name, own)
    write_cases(tmp_path / "data", axes=2)
    frames = []
    for method_name, shift in (("near", 1), ("far", 3)):
        (tmp_path / method_name).mkdir()
        for mask in sorted((tmp_path / "data" / "labelsTr").glob("*.nii.gz")):
            image = nibabel.load(mask)
            shifted = np.roll(np.asarray(image.dataobj), shift, axis=0)
            nibabel.save(nibabel.Nifti1Image(shifted, image.affine), tmp_path / method_name / mask.name)
        about = {"method": method_name, "run": method_name, "seed": 0}
        frames.append(
            evaluate_folder(tmp_path / method_name, tmp_path / "data", metrics=["wrong_share"], about=about)
        )
    table = compare(pd.concat(frames), proposed="near", metric="wrong_share")
    line = table[table["structure"] == "part1"].iloc[0]
    assert (line["n"], line["wins"], line["losses"]) == (6, 6, 0)  # the lower share wins
    assert line["mean_difference"] < 0


def again(package, path, tmp_path, monkeypatch):
    """Collect the table of a package as if an example's file stood in it."""
    (tmp_path / Path(path).name).write_text(FILES[path])
    home, module = import_module(f"sfumato.{package}"), import_module(f"sfumato.{package}.table")
    monkeypatch.setattr(home, "__path__", [*home.__path__, str(tmp_path)])
    spec = importlib.util.spec_from_file_location(f"sfumato.{package}.table", module.__file__)
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    monkeypatch.delitem(sys.modules, f"sfumato.{package}.{Path(path).stem}")
    return table


def test_a_file_that_ends_in_its_row_and_a_line_are_all_that_a_label_needs(tmp_path, monkeypatch):
    labels = again("labels", "src/sfumato/labels/faint.py", tmp_path, monkeypatch).LABELS
    assert set(labels) == {*LABELS, "faint"}
    monkeypatch.setitem(LABELS, "faint", labels["faint"])
    chosen = eval(LINES["src/sfumato/methods/table.py"], vars(methods_table))
    require_fitting(chosen)
    target = chosen.target(torch.tensor([0, 1]), num_classes=2, spacing=(1.0,), options={"strength": 0.75})
    assert target.tolist() == [[1.0, 0.25], [0.0, 0.75]]


def test_a_file_that_ends_in_its_row_is_all_that_a_loss_needs(tmp_path, monkeypatch):
    losses = again("losses", "src/sfumato/losses/smooth_l1.py", tmp_path, monkeypatch).LOSSES
    assert set(losses) == {*LOSSES, "smooth-l1"}
    monkeypatch.setitem(LOSSES, "smooth-l1", losses["smooth-l1"])
    chosen = compose("singr", loss=("Smooth L1", {"beta": 0.5}))
    value = chosen.make_loss()(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    assert value.item() == 0.75
    with pytest.raises(InputError, match="loss 'smooth-l1' does not go with label 'one-hot'"):
        compose("ce", loss=("smooth-l1", {}))


def test_a_file_that_ends_in_its_row_is_all_that_a_network_needs(tmp_path, monkeypatch):
    networks = again("networks", "src/sfumato/networks/plain.py", tmp_path, monkeypatch).NETWORKS
    assert set(networks) == {*NETWORKS, "plain"}
    monkeypatch.setitem(NETWORKS, "plain", networks["plain"])
    network = build("plain", in_channels=1, out_channels=3, width=2)
    assert network(torch.zeros(2, 1, 4, 5)).shape == (2, 3, 4, 5)


def test_a_file_and_a_line_in_the_table_are_all_that_a_reader_needs(tmp_path, monkeypatch):
    pairs = load_example("src/sfumato/data/readers/pairs.py", monkeypatch)
    monkeypatch.setitem(
        LAYOUTS, "pairs", eval(LINES["src/sfumato/data/readers/layouts.py"], {"pairs": pairs})["pairs"]
    )
    monkeypatch.setattr(
        "sfumato.data.dataset.LAYOUT_NAMES", ("auto", *LAYOUTS)
    )  # made of the table on import
    write_cases(tmp_path / "data", axes=2, count=2, classes=2)
    for index in range(2):
        for source, name in (("imagesTr", f"case{index}_0000"), ("labelsTr", f"case{index}")):
            target = f"case{index}{'' if source == 'imagesTr' else '-mask'}.nii.gz"
            (tmp_path / "data" / source / f"{name}.nii.gz").rename(tmp_path / target)
    shutil.rmtree(tmp_path / "data")
    for name in ("auto", "pairs"):
        dataset = open_dataset(tmp_path, layout=name)
        assert (dataset.name, len(dataset.cases)) == ("Pairs", 2)
    assert run(["check", str(tmp_path), "--dataset", "pairs"]) == 0


# What stands in the package: who names what.


def mentions(path):
    """The texts, names and modules that a file mentions, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield f"module {node.module}"
            yield from (f"module {node.module}.{alias.name}" for alias in node.names)


MENTIONS = {path.relative_to(SOURCE).as_posix(): set(mentions(path)) for path in SOURCE.rglob("*.py")}


def files_with(text):
    return {path for path, texts in MENTIONS.items() if text in texts}


def other_files(text, *allowed):
    return {path for path in files_with(text) if not path.startswith(allowed)}


# Words that mean something else as well: names of metrics, of distances, of parameters, and a default.
AMBIGUOUS = {"dice", "l1", "l2", "product", "geodesic", "svls", "ace", "precision"}


@pytest.mark.parametrize("name", sorted({*LABELS, *LOSSES} - AMBIGUOUS))
def test_a_label_or_loss_is_named_in_its_package_and_the_table_of_methods(name):
    package = "labels/" if name in LABELS else "losses/"
    assert other_files(name, package, "methods/table.py") == set()


@pytest.mark.parametrize(
    "module",
    [
        f"sfumato.{package}.{path.stem}"
        for package in ("labels", "losses")
        for path in sorted((SOURCE / package).glob("*.py"))
        if re.search(r"= (Label|label_of|Loss)\(", path.read_text(encoding="utf-8"))
        and path.stem != "definition"
    ],
)
def test_the_file_of_a_label_or_loss_is_imported_in_its_package_alone(module):
    package = module.split(".")[1]
    assert other_files(f"module {module}", f"{package}/") == set()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_named_in_its_file_and_by_published_experiments(name):
    (home,) = {path for path in files_with(name) if path.startswith("networks/")}
    assert other_files(name, home, "reproduction/") <= ({"recipe/recipe.py"} if name == "unet" else set())
    module = home.removesuffix(".py").replace("/", ".")
    assert other_files(f"module sfumato.{module}", "networks/") == set()


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_reader_is_named_in_the_table_of_layouts_and_by_published_experiments(name):
    home = f"data/readers/{name}.py"
    published = ("reproduction/", "report/reproduction.py")
    assert other_files(name, home, "data/readers/layouts.py", "data/phantoms/layouts.py", *published) == set()
    assert files_with(f"module sfumato.data.readers.{name}") == {"data/readers/layouts.py"}


# What more is done with the values of a few metrics than to score and show them.
USES = {
    "hd95": {"reproduction/tables.py"},  # the published tables mark its undefined values
    "rvd": {"model/sweeps.py", "report/thresholds.py"},  # a column of the tables of thresholds
    "rater_dice": {"evaluation/agreement.py"},  # beside the model's agreement with the raters
    "volume": {"statistics/volumes.py"},  # agreement of volumes
    "volume_ref": {"statistics/volumes.py"},
}


@pytest.mark.parametrize("name", sorted(METRICS.keys() - AMBIGUOUS))
def test_a_metric_is_named_in_its_file_and_the_table_of_metrics(name):
    assert other_files(name, "metrics/", "evaluation/metrics_table.py") == USES.get(name, set())
