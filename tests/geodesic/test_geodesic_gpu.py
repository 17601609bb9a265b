"""The GPU's kernels give what the CPU gives; without a GPU they run in Triton's interpreter."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from geodesic_cases import serpentine
from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.geodesic import geodesic_distance, gpu, signed_geodesic_distance
from sfumato.geodesic.engine import costs
from sfumato.geodesic.gpu import solve as solving
from sfumato.geodesic.gpu.distances import device_distances
from sfumato.geodesic.reference import geodesic_distance_reference
from sfumato.geodesic.task import PathCost
from sfumato.labels import geols, sing, svls

pytest.importorskip("triton", reason="Triton is not installed on this platform")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
RECIPES = [("l1", 0.5), ("l1", 1.0), ("l1", 0.0), ("l2", 1.3), ("geodistk", 1.0), ("geodistk", 0.4)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles so small that tiny images have several."""
    monkeypatch.setattr(solving, "TILES", {2: (1, 8, 8), 3: (4, 4, 8)})


@pytest.fixture
def on_gpu(monkeypatch):
    """Public functions take the GPU's way, wherever the tensors lie."""
    monkeypatch.setattr(gpu, "takes", lambda image: isinstance(image, torch.Tensor))


def starts(seeds):
    return torch.where(torch.as_tensor(seeds), 0.0, math.inf)


def assert_exact(found, image, seeds, spacing, cost, weight, **options):
    """Compare ``(K, *S)`` distances with Dijkstra's in float64."""
    for one, own in zip(found.cpu().numpy(), seeds, strict=True):
        expected = geodesic_distance_reference(
            image, own, spacing=spacing, cost=cost, weight=weight, **options
        )
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
def test_a_batch_with_its_own_spacings_is_exact_for_every_cost(cost, weight):
    rng = np.random.default_rng(2)
    image = rng.normal(size=(2, 2, 6, 11)).astype(np.float32)
    seeds = rng.random((2, 2, 6, 11)) < 0.05
    seeds[1, 0] = False
    spacing = [(2.5, 0.4), (0.5, 3.0)]
    found = device_distances(
        torch.from_numpy(image).to(DEVICE),
        starts(seeds).to(DEVICE),
        spacing=spacing,
        cost=PathCost(cost, weight),
    )
    for index in range(2):
        assert_exact(found[index], image[index], seeds[index], spacing[index], cost, weight)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
def test_a_volume_is_exact_for_every_cost(cost, weight):
    rng = np.random.default_rng(3)
    shape = (3, 4, 9) if cost == "l1" and weight == 0.5 else (3, 4, 7)  # The first has two tiles.
    image = rng.normal(size=(1, 2, *shape)).astype(np.float32)
    seeds = rng.random((1, 1, *shape)) < 0.03
    found = device_distances(
        torch.from_numpy(image).to(DEVICE), starts(seeds).to(DEVICE), spacing=[(2.5, 1.0, 0.4)],
        cost=PathCost(cost, weight),
    )  # fmt: skip
    assert_exact(found[0], image[0], seeds[0], (2.5, 1.0, 0.4), cost, weight)


def test_a_winding_corridor_over_many_tiles_is_followed_to_its_end():
    shape = (11, 11)
    mask = serpentine(shape)
    image = np.random.default_rng(3).normal(size=(1, 1, *shape)).astype(np.float32)
    seeds = np.zeros((1, 1, *shape), bool)
    seeds[0, 0, 0, 0] = True
    work = solving.SolverWork()
    found = device_distances(
        torch.from_numpy(image).to(DEVICE), starts(seeds).to(DEVICE), spacing=[(1.0, 1.5)],
        cost=PathCost("l1", 0.3), allowed=torch.from_numpy(mask)[None, None].to(DEVICE), work=work,
    )  # fmt: skip
    assert_exact(found[0], image[0], seeds[0], (1.0, 1.5), "l1", 0.3, mask=mask)
    assert work.tiles == 4
    assert work.visits > 4
    assert work.passes % 8 == 0


def test_a_seed_outside_the_mask_starts_nothing(on_gpu):
    seeds = torch.tensor([[True, False, False, False, True]], device=DEVICE)
    mask = torch.tensor([[False, True, True, True, True]], device=DEVICE)
    image = torch.zeros(1, 5, device=DEVICE)
    found = geodesic_distance(image, seeds, spacing=(1.0, 1.0), cost="l1", weight=0.0, mask=mask)
    assert found.tolist() == [[math.inf, 3, 2, 1, 0]]


def test_limits_per_set_cut_off_exactly_above_them():
    image = torch.zeros(1, 1, 1, 9)
    seeds = torch.zeros(1, 2, 1, 9, dtype=torch.bool)
    seeds[..., 0] = True
    found = device_distances(
        image.to(DEVICE), starts(seeds).to(DEVICE), spacing=[(1.0, 1.0)], cost=PathCost("l1", 0.0),
        limits=torch.tensor([[3.0, 5.5]], device=DEVICE),
    )  # fmt: skip
    assert found[0, 0, 0].tolist() == [0, 1, 2, 3, *[math.inf] * 5]
    assert found[0, 1, 0].tolist() == [0, 1, 2, 3, 4, 5, *[math.inf] * 3]


@pytest.mark.parametrize(("cost", "weight"), [("l1", 0.5), ("l2", 1.0)])
def test_bits_do_not_depend_on_the_tiles_and_equal_the_cpu_engine(cost, weight):
    rng = np.random.default_rng(8)
    image = torch.from_numpy(rng.normal(size=(1, 1, 3, 6, 9)).astype(np.float32))
    seeds = torch.from_numpy(rng.random((1, 1, 3, 6, 9)) < 0.02)
    plan = costs.plan(cost, weight, (1.0, 2.0, 1.0), float(image.max() - image.min()), 1)
    found = [
        solving.solve(
            image.to(DEVICE), starts(seeds).to(DEVICE), spacing=[(1.0, 2.0, 1.0)], plan=plan,
            limits=torch.full((1, 1), math.inf, device=DEVICE), tile=tile,
        ).cpu()
        for tile in ((4, 4, 8), (8, 8, 16))
    ]  # fmt: skip
    expected = geodesic_distance(image[0], seeds[0], spacing=(1.0, 2.0, 1.0), cost=cost, weight=weight)
    for one in found:
        assert torch.equal(one[0], expected)


@pytest.mark.parametrize(("shape", "sets"), [((4, 7), 2), ((1, 6), None), ((3, 4, 5), None), ((1, 1, 1), 2)])
def test_public_distance_takes_the_gpu_and_gives_the_shape_of_the_seeds(on_gpu, shape, sets):
    rng = np.random.default_rng(5)
    image = torch.from_numpy(rng.integers(0, 5, (2, *shape)).astype(np.int16))
    seeds = torch.zeros((*(() if sets is None else (sets,)), *shape), dtype=torch.bool)
    seeds.reshape(-1)[0] = True
    price = torch.where(seeds, 0.25, math.inf)
    spacing = (2.0, 1.0, 0.5)[: len(shape)]
    found = geodesic_distance(image.to(DEVICE), None, spacing=spacing, weight=0.7, cost="l1", seed_cost=price)
    assert found.shape == seeds.shape
    plain = geodesic_distance(image[0].to(DEVICE), seeds, spacing=spacing)
    for index, own in enumerate(seeds.reshape(-1, *shape)):
        got, other = (each.reshape(-1, *shape)[[index]] for each in (found, plain))
        assert_exact(got, image, own[None].numpy(), spacing, "l1", 0.7, seed_cost=np.full(shape, 0.25))
        assert_exact(other, image[:1], own[None].numpy(), spacing, "l2", 1.0)


def test_signed_distance_is_positive_inside_for_a_batch(on_gpu):
    inside = torch.zeros(2, 1, 4, 9, dtype=torch.bool, device=DEVICE)
    inside[0, 0, 1:3, 2:7] = True
    image, options = torch.zeros(2, 1, 4, 9, device=DEVICE), {"spacing": (1.0, 1.0), "weight": 0.0}
    found = signed_geodesic_distance(image, inside, **options)
    single = [signed_geodesic_distance(image[0, 0], one[0], **options) for one in inside]
    assert torch.equal(found[:, 0], torch.stack(single))
    assert torch.isneginf(found[1]).all()
    assert (found[0][inside[0]] >= 0).all()


def test_batch_on_the_cpu_is_the_items_one_by_one():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    seeds = rng.random((2, 2, 4, 5)) < 0.2
    steps = [(1.0, 2.0), (0.5, 0.5)]
    found = geodesic_distance(image, seeds, spacing=steps, cost="l1", weight=0.4)
    for index in range(2):
        one = geodesic_distance(image[index], seeds[index], spacing=steps[index], cost="l1", weight=0.4)
        assert np.array_equal(found[index], one)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"image": torch.full((3, 4), math.nan)}, ValueRangeError, "image holds 12 NaN or infinite"),
        ({"spacing": (1.0, -1.0)}, ValueRangeError, "every value must be finite and above 0"),
        ({"cost": "l3"}, UnknownNameError, "l3"),
        ({"cost": "l1", "weight": 1.5}, ValueRangeError, "must lie in"),
        ({"seeds": torch.zeros(3, 4)}, DTypeError, "must be boolean"),
        ({"seeds": torch.zeros(4, 4, dtype=torch.bool)}, ShapeError, "seeds has shape"),
        ({"mask": torch.zeros(3, 5, dtype=torch.bool)}, ShapeError, "mask has shape"),
        ({"seeds": None}, ValueRangeError, "seeds is None"),
        ({"image": torch.tensor([[0.0, 1e30]]).expand(3, 2).repeat(1, 2)}, ValueRangeError, "leave float32"),
    ],
)
def test_wrong_input_is_named_before_any_work(on_gpu, change, error, text):
    call = {"image": torch.zeros(3, 4), "seeds": torch.ones(3, 4, dtype=torch.bool), "spacing": (1.0, 1.0)}
    call |= change
    with pytest.raises(error, match=text):
        geodesic_distance(call.pop("image"), call.pop("seeds"), **call)


def test_without_a_c_compiler_the_cpu_computes(monkeypatch, caplog):
    gpu.works.cache_clear()
    assert gpu.works()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    gpu.works.cache_clear()
    assert not gpu.works()
    assert "no C compiler" in caplog.text
    monkeypatch.undo()
    gpu.works.cache_clear()


def test_more_voxels_than_32_bits_count_are_refused():
    with pytest.raises(ValueRangeError, match="cut the image"):
        solving.require_countable((2048, 1024, 1025))
    solving.require_countable((1024, 1024, 2047))


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 6)])
def test_votes_are_those_of_the_cpu(on_gpu, shape, monkeypatch):
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 5, shape))
    labels[..., :3] = 2
    found = svls(labels.to(DEVICE), num_classes=6)
    monkeypatch.setattr(gpu, "takes", lambda _: False)
    expected = svls(labels, num_classes=6)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(found.cpu() == 1, expected == 1)


def regions_of(shape):
    """Two items: a block and a single voxel that overlap; an empty region and one that fills the image."""
    masks = torch.zeros(2, 2, *shape, dtype=torch.bool)
    masks[(0, 0, *(slice(1, -1),) * len(shape))] = True
    masks[(0, 1, *(1,) * len(shape))] = True
    masks[1, 1] = True
    return masks


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 4, 7), {"boundary": "inner"}),
        ((6, 9), {"boundary": "canny", "channels": "per-channel", "margin": 0.0}),
        ((6, 9), {"boundary": "both", "preset": "reference"}),
    ],
    ids=["paper", "per-channel", "reference"],
)
def test_sing_of_a_batch_on_the_gpu_is_that_of_the_cpu(monkeypatch, shape, options):
    rng = np.random.default_rng(4)
    image = torch.from_numpy(rng.normal(size=(2, 2, *shape)).astype(np.float32))
    image[0, :, 0] = 0
    masks = regions_of(shape)
    spacing = [(3.0, 1.0, 1.0)[: len(shape)], (1.0, 1.0, 0.5)[: len(shape)]]
    expected = sing(masks, image, spacing=spacing, **options)
    monkeypatch.setattr(gpu, "takes", lambda image: isinstance(image, torch.Tensor))
    found = sing(masks.to(DEVICE), image.to(DEVICE), spacing=spacing, **options)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)
    assert (found[1, 0] == -1).all()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 4, 7), {"seeds": "skeleton"}),
        ((6, 8), {"seeds": "erosion", "channels": "per-channel", "alpha": 0.3}),
        ((6, 8), {"preset": "reference", "normalise": True}),
        ((6, 8), {"preset": "reference", "channels": "joint"}),
        ((6, 8), {"alpha": 0.0}),
    ],
    ids=["paper", "per-channel", "reference", "joint", "one-hot"],
)
def test_geols_of_a_batch_on_the_gpu_is_that_of_the_cpu(monkeypatch, shape, options):
    rng = np.random.default_rng(6)
    image = torch.from_numpy(rng.normal(size=(2, 2, *shape)).astype(np.float32))
    labels = torch.zeros(2, *shape, dtype=torch.int64)
    labels[(0, *(slice(1, 3),) * len(shape))] = 1
    labels[0].reshape(-1)[-1] = 3  # Class 2 is absent, class 3 one voxel; the other item is all background.
    spacing = [(4.0, 1.0, 1.0)[: len(shape)], (9.0, 12.0, 8.0)[: len(shape)]]
    expected = geols(labels, image, num_classes=4, spacing=spacing, **options)
    monkeypatch.setattr(gpu, "takes", lambda image: isinstance(image, torch.Tensor))
    found = geols(labels.to(DEVICE), image.to(DEVICE), num_classes=4, spacing=spacing, **options)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)


def test_given_boundary_voxels_and_seeds_are_those_of_the_rule():
    image = torch.from_numpy(np.random.default_rng(9).normal(size=(1, 5, 8)).astype(np.float32))
    region = torch.zeros(1, 5, 8, dtype=torch.bool)
    region[0, 1:4, 2:6] = True
    edge = region.clone()
    edge[0, 2, 3:5] = False
    expected = sing(region, image, spacing=(1.0, 1.0), boundary="inner")
    assert torch.equal(sing(region, image, spacing=(1.0, 1.0), boundary=edge), expected)
    with pytest.raises(ShapeError, match="boundary has shape"):
        sing(region, image, spacing=(1.0, 1.0), boundary=edge[0])


PROGRAM = """
import warnings
warnings.simplefilter("ignore")
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sfumato.geodesic.gpu import kernels
from sfumato.labels.kernels import triton_votes

def build(kernel, pointers, constants):
    names = kernel.arg_names
    kinds = {name: pointers.get(name, "fp32" if name.endswith("_weight") else "i32") for name in names}
    kinds |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    assert len(made.asm["cubin"]) > 1000

floats = dict.fromkeys(("distance", "image", "lengths", "limits", "out", "shares"), "*fp32")
whole = dict.fromkeys(("now", "later", "labels", "offsets"), "*i32")
pointers = {**floats, **whole, "allowed": "*u8", "visits": "*i64"}
for form, channels, tile in ((0, 1, (8, 8, 8)), (1, 2, (1, 16, 32)), (3, 1, (1, 8, 8))):
    sides, solid = dict(zip("ABC", tile)), tile[0] > 1
    flags = {"SOLID": solid, "MASKED": not solid, "COUNTED": not solid}
    build(kernels.relax_tiles, pointers, {"FORM": form, "CHANNELS": channels, **flags, **sides, "ROUNDS": 32})
build(triton_votes.vote_neighbours, pointers, {"BLOCK": 512, "CLASSES": 4})
"""


def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
