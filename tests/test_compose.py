"""Parts of methods put together freely: what goes together trains and decodes, the rest is refused."""

import itertools
import logging
import re
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
import yaml

from sfumato.cli.app import run
from sfumato.errors import InputError, RecipeError, UnknownNameError
from sfumato.methods import METHODS, PARTS, Method, compose, known_methods, method
from sfumato.methods.compose import plugin_methods, require_fitting
from sfumato.model import load
from sfumato.recipe import parse_recipe
from tiny_cases import tiny_recipe, write_cases

LABELS, ACTIVATIONS, LOSSES, DECODERS = (
    PARTS[part].rows for part in ("label", "activation", "loss", "decoder")
)


def put_together(label, activation, loss, decoder):
    return Method("mine", "Mine", "", label, activation, loss, decoder)


@pytest.mark.parametrize("label", LABELS)
def test_every_combination_trains_and_decodes_or_is_refused_with_what_fits(label):
    labels = torch.zeros(6, 7, dtype=torch.int64)
    labels[1:4, 2:5], labels[4:, 5:] = 1, 2
    image = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(0))
    accepted, refusals = 0, []
    for activation, loss, decoder in itertools.product(ACTIVATIONS, LOSSES, DECODERS):
        chosen = put_together(label, activation, loss, decoder)
        try:
            require_fitting(chosen)
        except InputError as error:
            refusals.append(str(error))
            continue
        accepted += 1
        target = chosen.target(labels, image, num_classes=3, spacing=(1.0, 0.5))
        logits = torch.randn(1, *target.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        value = chosen.make_loss()(logits, target[None])
        value.backward()
        assert torch.isfinite(value), (activation, loss, decoder)
        assert torch.isfinite(logits.grad).all(), (activation, loss, decoder)
        decoded = chosen.decode(chosen.activate(logits.detach())[0])
        assert decoded.shape == labels.shape
        assert set(decoded.unique().tolist()) <= {0, 1, 2}
    assert accepted >= 4
    names = [name for rows in (ACTIVATIONS, LOSSES, DECODERS) for name in rows]
    assert all(any(name in said.rpartition("give ")[2] for name in names) for said in refusals)


def test_what_a_refusal_offers_is_accepted():
    with pytest.raises(
        InputError, match="does not go with label 'sing', whose target is signed maps"
    ) as caught:
        compose("ce", label=("sing", {}))
    assert "give tanh" in str(caught.value)
    chosen = compose("ce", label=("sing", {}), activation=("tanh", {}), loss=("l1", {}), decoder=("zero", {}))
    assert chosen.kind.name == "signed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoder": ("argmax", {})}, "decoder 'argmax' does not go with label 'sing'.*give zero"),
        ({"activation": ("softmax", {})}, "activation 'softmax' does not go with label 'sing'"),
        ({"loss": ("nacl", {})}, "loss 'nacl' does not go with label 'sing'"),
    ],
)
def test_a_part_of_another_kind_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        compose("singr", **changes)


def test_a_loss_that_computes_its_own_activation_is_refused_beside_another():
    with pytest.raises(InputError, match="loss 'soft-cross-entropy' does not go with activation 'norm-relu'"):
        compose("softseg", loss=("soft-cross-entropy", {}))


@pytest.mark.parametrize("name", ["Dice + cross-entropy", "dice + cross entropy", "dice-ce", "DICE CE"])
def test_parts_are_known_by_printed_titles_whatever_case_and_punctuation(name):
    assert compose("geols", loss=(name, {})).loss == "dice-ce"


def test_another_part_takes_its_own_defaults_and_options():
    chosen = compose("geols", loss=("dice-ce", {"lambda_ce": 0.5}), label=(None, {"alpha": 0.2}))
    assert chosen.loss_options["lambda_ce"] == 0.5
    assert chosen.label_options["alpha"] == 0.2
    assert chosen.label_options["seeds"] == "skeleton"
    assert "denominator" not in compose("singr-no-denominator", loss=("l1", {})).loss_options
    with pytest.raises(UnknownNameError, match=r"loss option.*'lambda'"):
        compose("geols", loss=("dice-ce", {"lambda": 1}))
    with pytest.raises(UnknownNameError, match="Did you mean 'svls'"):
        compose("geols", label=("svsl", {}))


@pytest.mark.parametrize("part", ["label", "loss"])
def test_text_where_a_number_is_due_is_refused(part):
    option = {"label": "alpha", "loss": "lambda_ce"}[part]
    with pytest.raises(
        InputError, match=rf"{part} option '{option}' of method 'geols' is the text '1e-1': give"
    ):
        compose(
            "geols", **{"loss": ("dice-ce", {})} | {part: ({"loss": "dice-ce"}.get(part), {option: "1e-1"})}
        )


def test_one_hot_of_another_label_is_that_labels_target():
    labels = torch.tensor([[0, 1], [1, 1]])
    chosen = compose("geols", label=("svls", {}))
    expected = method("svls").target(labels, num_classes=2, spacing=(1.0, 1.0))
    assert torch.equal(chosen.target(labels, num_classes=2, spacing=(1.0, 1.0)), expected)


TRAININGS = {
    "GeoLS with Dice + CE": {"method": "geols", "loss": "Dice + cross-entropy"},
    "SVLS with a Jaccard metric loss": {
        "method": "svls",
        "loss": {"name": "jaccard-metric", "form": "product"},
    },
    "SoftSeg with another regression": {"method": "softseg", "loss": "l2"},
    "cross-entropy on a geodesic label": {"method": "ce", "label": {"name": "geodesic", "alpha": 0.2}},
}


@pytest.mark.parametrize("title", TRAININGS)
def test_a_recipe_of_other_parts_trains_predicts_and_is_evaluated(title, tmp_path):
    write_cases(tmp_path / "data", axes=2)
    recipe = tiny_recipe(2) | {"recipe_version": 2, "label": {}, "loss": {}, "epochs": 1} | TRAININGS[title]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path / "data")]
    assert run([*arguments, "-o", str(tmp_path / "run"), "--no-report"]) == 0
    trained = load(tmp_path / "run")
    for part in ("label", "loss"):
        wanted = getattr(parse_recipe(recipe, source="test").composed, part)
        assert getattr(trained.method, part) == wanted
    assert (
        run(["predict", str(tmp_path / "run"), str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--soft"])
        == 0
    )
    evaluate = ["evaluate", str(tmp_path / "out"), str(tmp_path / "data"), "-o", str(tmp_path / "m.csv")]
    assert run(evaluate) == 0


def test_a_recipe_whose_parts_do_not_go_together_is_refused_with_what_fits():
    with pytest.raises(RecipeError, match=r"mine\.yaml.*'softmax' does not go with label 'sing'.*give tanh"):
        parse_recipe(
            tiny_recipe() | {"recipe_version": 2, "method": "singr", "activation": "softmax"},
            source="mine.yaml",
        )


# A user's own code

OWN = """
import torch
from sfumato.labels import one_hot
from sfumato.methods import Label, Loss, Method
from sfumato.structures import SIGNED

def flat(labels, *, num_classes, share=0.5):
    return one_hot(labels, num_classes=num_classes) * (1 - share) + share / num_classes

def per_region(regions, *, value=0.9):
    return regions.float() * value

def signed(case, options):
    return case.masks().float() * 2 - 1

SIGNED_MASK = Label("signed-mask", "signed mask", SIGNED, signed)

class Mean(torch.nn.Module):
    def __init__(self, weight=2.0):
        super().__init__()
        self.weight = weight
    def forward(self, prediction, target):
        return self.weight * (prediction - target).abs().mean()

def half(logits):
    return logits.sigmoid() / 2

def no_default(labels, *, num_classes, share):
    return one_hot(labels, num_classes=num_classes) * share

def broken(labels, *, num_classes):
    raise RuntimeError("my label is broken")

def misshapen(labels, *, num_classes):
    return torch.zeros(3)

def unknown(labels, *, num_classes):
    return one_hot(labels, num_classes=num_classes) / 0

class Demanding(torch.nn.Module):
    def __init__(self, power):
        super().__init__()

PARTS = ("uniform", "softmax", "focal", "argmax")
SHARED = Method("shared", "Shared", "", *PARTS, {"alpha": 0.3}, {"gamma": 3.0})
WHOLE = Method("whole", "Whole", "", SIGNED_MASK, "tanh", "l2", "zero")
NUMBER = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a module of a user's own, under a name that no other test has imported."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_users_own_function_class_or_row_is_a_part(own):
    labels = torch.tensor([[0, 1, 2], [2, 1, 0]])
    given = {"num_classes": 3, "spacing": (1.0, 1.0)}
    chosen = compose("ce", label=(f"{own}:flat", {"share": 0.3}))
    torch.testing.assert_close(chosen.target(labels, **given).amax(0), torch.full((2, 3), 0.8))
    regions = compose("ls-jml", label=(f"{own}:per_region", {}), loss=(f"{own}:Mean", {"weight": 3.0}))
    assert regions.target(labels, **given).amax().item() == pytest.approx(0.9)
    logits = torch.zeros(1, 2, 2, 3)
    expected = 3 * (0.5 - regions.target(labels, **given)).abs().mean()
    torch.testing.assert_close(regions.make_loss()(logits, regions.target(labels, **given)[None]), expected)
    signed = compose("singr", label=(f"{own}:SIGNED_MASK", {}))
    assert set(signed.target(labels, **given).unique().tolist()) == {-1.0, 1.0}
    assert compose("ls-jml", activation=(f"{own}:half", {})).activate(logits).max() == 0.25
    assert method(f"{own}:WHOLE").kind.name == "signed"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no_such_module_here:x", "there is no module 'no_such_module_here'"),
        ("{own}:flatt", "Did you mean 'flat'"),
        ("{own}:NUMBER", "is a int"),
        ("{own}:no_default", "option 'share' of no_default has no default"),
        ("broken_{own}:x", "importing broken_.* failed: SyntaxError"),
    ],
)
def test_what_is_no_part_is_named(own, tmp_path, reference, said):
    (tmp_path / f"broken_{own}.py").write_text("def (")
    with pytest.raises(InputError, match=said):
        compose("ce", label=(reference.format(own=own), {}))


def test_a_part_that_replaces_another_does_not_inherit_its_changed_options(own):
    kept, other = (
        compose(f"{own}:SHARED"),
        compose(f"{own}:SHARED", label=("geodesic", {}), loss=("nacl", {})),
    )
    assert (kept.label_options["alpha"], kept.loss_options["gamma"]) == (0.3, 3.0)
    assert other.label_options == LABELS["geodesic"].options
    assert "gamma" not in other.loss_options


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "failed: RuntimeError: my label is broken"),
        ("misshapen", r"returned a Tensor of shape \(3,\): give a tensor of shape \(3, 2, 3\)"),
        ("unknown", "with finite values"),
    ],
)
def test_what_a_users_own_label_does_wrong_is_told_as_its_own(own, name, said):
    chosen = compose("ce", label=(f"{own}:{name}", {}))
    with pytest.raises(InputError, match=f"label '{own}:{name}' .*{said}"):
        chosen.target(torch.tensor([[0, 1, 2], [2, 1, 0]]), num_classes=3, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    ("name", "said"), [("flat", "class of a torch module"), ("Demanding", "'power' has no default")]
)
def test_what_is_no_loss_says_what_is_needed(own, name, said):
    with pytest.raises(InputError, match=said):
        compose("ce", loss=(f"{own}:{name}", {}))


def test_own_code_lies_beside_the_recipe_and_trains_predicts_and_resumes(own, tmp_path, monkeypatch):
    write_cases(tmp_path / "data", axes=2)
    changes = {"label": {"name": f"{own}:flat", "share": 0.2}, "loss": f"{own}:Mean", "epochs": 1}
    recipe = tiny_recipe(2) | {"recipe_version": 2, "method": "ce"} | changes
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path / "data"), "-o", "run"]
    assert run([*arguments, "--no-report"]) == 0
    assert run([*arguments, "--no-report", "--resume"]) == 0
    stored = yaml.safe_load((elsewhere / "run" / "recipe.yaml").read_text())
    assert stored["label"] == {"name": f"{own}:flat", "share": 0.2}


def checkpoint_of_own_code(own, tmp_path, **changes):
    write_cases(tmp_path / "data", axes=2)
    recipe = tiny_recipe(2) | {"recipe_version": 2, "method": "ce", "epochs": 1} | changes
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["train", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path / "data")]
    assert run([*arguments, "-o", str(tmp_path / "run"), "--no-report"]) == 0
    # From now on importing the module leaves a file, and only a new process imports it.
    (tmp_path / f"{own}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n" + OWN)
    return tmp_path / "run"


def predicted(tmp_path, trained, *options):
    command = [sys.executable, "-m", "sfumato", "predict", str(trained), str(tmp_path / "data"), "-o", "out"]
    return subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)


def test_predicting_imports_no_label_and_no_loss_of_a_checkpoint(own, tmp_path):
    trained = checkpoint_of_own_code(own, tmp_path, label=f"{own}:flat", loss=f"{own}:Mean")
    result = predicted(tmp_path, trained)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 6
    assert not (tmp_path / "sprung").exists()


def test_an_activation_of_a_checkpoint_is_run_only_where_it_is_trusted(own, tmp_path):
    trained = checkpoint_of_own_code(own, tmp_path, method="ls-jml", activation=f"{own}:half")
    result = predicted(tmp_path, trained)
    assert result.returncode == 2
    assert "--trust-code" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "sprung").exists()
    assert predicted(tmp_path, trained, "--trust-code").returncode == 0
    assert (tmp_path / "sprung").exists()


# Methods of installed packages


class Entry(SimpleNamespace):
    def load(self):
        if isinstance(self.loads, Exception):
            raise self.loads
        return self.loads


def test_methods_of_installed_packages_are_known_and_broken_ones_warned_of(monkeypatch, caplog):
    mine = Method("mine", "Mine", "", "svls", "softmax", "dice-ce", "argmax")
    entries = [
        Entry(value="good:METHOD", loads=mine),
        Entry(value="bad:METHOD", loads=ImportError("no such thing")),
        Entry(value="misfit:METHOD", loads=put_together("sing", "softmax", "l1", "zero")),
        Entry(value="taken:METHOD", loads=[Method("ce", "x", "", "svls", "softmax", "dice-ce", "argmax")]),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "sfumato.methods" else [])
    plugin_methods.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="sfumato"):
            assert set(known_methods()) == {*METHODS, "mine"}
        assert method("mine") == mine
        assert parse_recipe(tiny_recipe() | {"method": "mine"}, source="test").composed.loss == "dice-ce"
        said = [record.getMessage() for record in caplog.records]
        assert [
            any(f"{name}:METHOD" in line for line in said) for name in ("bad", "misfit", "taken", "good")
        ] == [
            True,
            True,
            True,
            False,
        ]
    finally:
        plugin_methods.cache_clear()


def test_the_parts_are_printed_with_their_options(capsys):
    assert run(["methods", "--parts"]) == 0
    printed = capsys.readouterr().out
    for rows in (LABELS, ACTIVATIONS, LOSSES, DECODERS):
        for name in rows:
            assert name in printed
    assert "alpha: 0.1" in printed
    assert "smooth_nr: 1.0e-05" in printed  # as YAML reads it back; 1e-05 would be text
    assert (
        yaml.safe_load(f"{{{re.search(r'alpha: 0.1, seeds.*', printed)[0]}}}") == LABELS["geodesic"].options
    )
    assert run(["methods"]) == 0
    assert "geols" in capsys.readouterr().out
