"""GPU-hours: counted work that can be counted again, real memory, and a user's own measurement."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from sfumato.errors import FileFormatError
from sfumato.networks import NETWORKS
from sfumato.reproduction.costs import WORK, Speed, StepWork, cost, hours_note, read_speeds
from sfumato.reproduction.experiments import EXPERIMENTS, experiment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def loaded(name, path):
    """The script at ``path`` as a module; ``networks`` alone would be the tests' folder."""
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="module")
def counts():
    yield loaded("network_counts", BENCHMARKS / "network_counts.py")
    del sys.modules["network_counts"]


@pytest.fixture(scope="module")
def networks(counts):
    yield loaded("networks_of_the_benchmark", BENCHMARKS / "networks.py")
    del sys.modules["networks_of_the_benchmark"]


class SmallStep:
    """A step whose loss is the output's mean, on images of four channels."""

    def __init__(self, network, shape):
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), foreach=True)
        self.image = torch.ones(shape)

    def batch(self):
        return (self.image,)

    def forward(self):
        return self.network(self.image).mean()

    def update(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def held_by_the_allocator(make_step):
    """Most bytes that PyTorch's own profiler sees allocated from the making of a step to its second end."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step = make_step()
        step.update(step.forward())
        step.update(step.forward())
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def test_one_convolution_is_counted_as_by_hand(counts):
    found = counts.counted(nn.Conv3d(4, 8, 3, padding=1), lambda twin: SmallStep(twin, (2, 4, 5, 6, 7)))
    weights, voxels = 8 * 4 * 27 + 8, 2 * 5 * 6 * 7
    # Parameters, gradients, two moments; Adam counts the steps of both tensors in four bytes each.
    assert found.state == 4 * 4 * weights + 2 * 4
    # The image is the batch, and the mean's gradient needs only its size: the loss alone is left.
    assert found.kept == 4
    # Forward and the gradient of the weights; the image needs none.
    assert found.flops == 2 * 2 * voxels * 8 * 4 * 27
    peak_at_least = found.state + 4 * voxels * (4 + 8)
    assert peak_at_least <= found.peak <= peak_at_least + 4 * 2 * weights


def test_kept_is_what_backward_needs_and_dies_with_it(counts):
    layers = nn.Sequential(nn.Conv3d(4, 8, 1), nn.ReLU(), nn.Conv3d(8, 8, 1))
    found = counts.counted(layers, lambda twin: SmallStep(twin, (2, 4, 5, 6, 7)))
    # The convolution's result dies at once; the rectified one serves both its own gradient and the next.
    assert found.kept == 4 * 8 * 2 * 5 * 6 * 7 + 4


def test_gradients_of_a_convolution_in_groups_take_as_many_products_as_it_does(counts):
    layers = nn.Sequential(nn.Conv3d(4, 8, 1), nn.Conv3d(8, 8, 3, padding=1, groups=8))
    found = counts.counted(layers, lambda twin: SmallStep(twin, (1, 4, 5, 6, 7)))
    assert found.flops == 2 * 5 * 6 * 7 * (2 * 8 * 4 + 3 * 8 * 27)


def test_a_view_moves_nothing_and_each_input_and_result_moves_once(counts):
    image = torch.ones(3, 5)
    with counts.Counter() as counter:
        turned = image.T.reshape(5, 3)[1:]
    assert counter.moved == 0
    with counter:
        total = turned + 1
    assert counter.moved == 2 * 4 * turned.numel()
    with counter:
        total += turned
    assert counter.moved == (2 + 3) * 4 * turned.numel()


@pytest.mark.parametrize("name", ["basic-unet", "ivadomed-unet2d"])
def test_counted_peak_is_what_the_allocator_really_gives(networks, counts, name):
    def real():
        network, images, shape = networks.setup(name, 32, 1)
        return networks.TrainingStep(network, images, shape, precision="32")

    network, images, shape = networks.setup(name, 32, 1)
    found = counts.counted(network, lambda twin: networks.TrainingStep(twin, images, shape, precision="32"))
    # Convolutions may take workspaces of their own on some processors.
    assert found.peak <= held_by_the_allocator(real) <= 1.1 * found.peak


def test_operations_are_those_of_pytorchs_own_counter(networks, counts):
    network, images, shape = networks.setup("basic-unet", 32, 1)
    found = counts.counted(network, lambda twin: networks.TrainingStep(twin, images, shape, precision="32"))
    step = networks.TrainingStep(network, images, shape, precision="32")
    with FlopCounterMode(display=False) as counter:
        step.update(step.forward())
    assert found.flops == counter.get_total_flops() > 1e9


def test_half_precision_keeps_less(networks):
    rows = [networks.row_of("segresnet", size=32, batch=1, precision=each) for each in ("32", "bf16-mixed")]
    assert rows[0]["parameters"] == rows[1]["parameters"] == 1_176_843
    assert rows[1]["kept_gb"] < 0.9 * rows[0]["kept_gb"]


@pytest.mark.parametrize("name", ["basic-unet", "svls-unet3d", "ivadomed-unet2d"])
def test_work_in_the_table_is_what_the_benchmark_counts(networks, name):
    row = networks.row_of(name)
    again = StepWork(round(row["teraflop_per_megavoxel"], 3), round(row["gigabytes_per_megavoxel"], 1))
    assert (again.teraflop, again.gigabytes) == pytest.approx(
        (WORK[name].teraflop, WORK[name].gigabytes), 0.01
    )


def test_every_network_of_an_experiment_has_its_work_and_every_experiment_its_hours():
    assert set(WORK) <= set(NETWORKS)
    for name in EXPERIMENTS:
        assert {recipe.network.name for recipe in experiment(name).recipes.values()} <= set(WORK)
        for part in experiment(name).content.data:
            spent = cost(experiment(name), part)
            assert spent.hours > 0
            assert spent.rough


def test_hours_follow_from_steps_voxels_and_the_assumed_rates():
    found = experiment("geols-table1")
    part = found.part("brats2019")
    # 235 cases in batches of 4: 59 steps, 200 epochs, 15 trainings; a batch is 4 x 192 x 192 x 128 voxels.
    steps, megavoxels = 59 * 200 * 15, 4 * 192 * 192 * 128 / 1e6
    spent = cost(found, part)
    assert (spent.trainings, spent.steps, spent.rough) == (15, steps, True)
    work = WORK["svls-unet3d"]
    seconds = work.teraflop / 20 + work.gigabytes / 1000
    assert spent.hours == pytest.approx(steps * megavoxels * seconds / 3600)
    measured = cost(found, part, {"svls-unet3d": Speed(0.1, "some GPU")})
    assert (measured.steps, measured.rough) == (steps, False)
    assert measured.hours == pytest.approx(steps * megavoxels * 0.1 / 3600)
    assert cost(found, part, {"unetr": Speed(0.1, "some GPU")}) == spent


HEAD = "network,precision,size,machine,seconds_per_megavoxel\n"


def test_measured_rows_are_read_and_counted_ones_left_out(tmp_path):
    path = tmp_path / "speeds.csv"
    path.write_text(HEAD + "unetr,16-mixed,128x128x128,Some GPU,0.02\nunet,16-mixed,128x128x128,,\n")
    speeds = read_speeds(path)
    assert speeds == {"unetr": Speed(0.02, "Some GPU, precision 16-mixed")}
    assert "Without ~: from steps measured on Some GPU, precision 16-mixed." in hours_note(speeds)
    assert "~" not in hours_note(speeds, rough=False).replace("Without ~", "")
    assert "20 TFLOP/s and 1 TB/s are assumed" in hours_note()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"lacks machine, network, precision, seconds_per_megavoxel: give the file that"),
        ("network,seconds_per_megavoxel\nunet,1\n", "lacks machine, precision: give"),
        (HEAD + "unet,32,128x128x128,,\n", "has no measured time, only counts: run benchmarks/networks.py"),
        (HEAD + "unet,32,128x128x128,Some GPU,fast\n", "unet takes 'fast' seconds: give a number above 0"),
        (HEAD + "unet,32,128x128x128,Some GPU,-1\n", "unet takes '-1' seconds"),
        (HEAD + "unet,32,128x128x128,Some GPU,inf\n", "unet takes 'inf' seconds"),
        (None, "cannot be read"),
    ],
)
def test_file_without_speeds_is_refused_with_what_to_do(tmp_path, text, message):
    path = tmp_path / "speeds.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_speeds(path)


def test_written_file_of_the_benchmark_is_read_back(networks, monkeypatch, tmp_path, capsys):
    path = tmp_path / "speeds.csv"
    asked = ["networks.py", "--networks", "unet", "--size", "16", "--batch", "1", "--csv", str(path)]
    monkeypatch.setattr(sys, "argv", [*asked, "--device", "cpu", "--measure"])
    # In this process: a new one would import everything again.
    monkeypatch.setattr(networks, "measured_alone", networks.measure)
    networks.main()
    said = capsys.readouterr().out
    assert "1,190,358" in said
    assert "CPU with" in said
    (speed,) = read_speeds(path).values()
    assert 0 < speed.seconds < 1000
    assert speed.where.endswith("precision 32")
