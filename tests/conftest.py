"""Options and fixtures that every test may use."""

import os

# One thread a process: the suite runs in as many processes as there are cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest  # noqa: E402 - the thread counts come before anything that reads them
import torch  # noqa: E402 - likewise
from hypothesis import HealthCheck, settings  # noqa: E402 - likewise

# Without a GPU, Triton's kernels run in its interpreter, voxel block by voxel block in NumPy.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

settings.register_profile(
    "sfumato", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("sfumato")
torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="torch device that the tests compute on")
    parser.addoption("--dtype", default="float32", help="floating type of losses and activations")


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def dtype(request):
    return getattr(torch, request.config.getoption("--dtype"))


# The recipes' module is imported late: the shape checks hook modules that are imported after this file.
@pytest.fixture
def content():
    """The content of a tiny recipe of volumes."""
    from tiny_cases import tiny_recipe

    return tiny_recipe()


@pytest.fixture
def content_2d():
    """The content of a tiny recipe of pictures."""
    from tiny_cases import tiny_recipe

    return tiny_recipe(axes=2)
