"""In threads, forked and spawned workers, a torch job, and where nothing can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sfumato.geodesic

CASE = """
import numpy as np, torch
from sfumato.geodesic import geodesic_distance
rng = np.random.default_rng(0)
IMAGE = rng.normal(size=(20, 33, 35)).astype(np.float32)
SEEDS = rng.random((2, 20, 33, 35)) < 0.001
def solve(_=None, threads=None):
    return geodesic_distance(IMAGE, SEEDS, spacing=(2.0, 1.0, 1.0), threads=threads)
EXPECTED = solve(threads=1)
class Cases(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, index):
        from sfumato.geodesic.engine import solve as engine
        assert engine.default_threads() == 1
        return torch.from_numpy(solve(index))
"""

JOBS = {
    "two Python threads at once": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    for result in pool.map(lambda _: solve(threads=2), range(8)):
        assert np.array_equal(result, EXPECTED)
""",
    "workers forked after a threaded call": """
solve(threads=2)
for batch in torch.utils.data.DataLoader(Cases(), num_workers=2, multiprocessing_context="fork"):
    assert np.array_equal(batch[0].numpy(), EXPECTED)
""",
    "spawned workers": """
for batch in torch.utils.data.DataLoader(Cases(), num_workers=1, multiprocessing_context="spawn"):
    assert np.array_equal(batch[0].numpy(), EXPECTED)
""",
    "between the steps of a torch job": """
weight = torch.ones(64, 64, requires_grad=True)
for _ in range(3):
    (weight @ weight).sum().backward()
    assert np.array_equal(solve(threads=2), EXPECTED)
""",
}


def run(code, *, folder, **environment):
    script = Path(folder) / "job.py"
    body = "".join(f"    {line}\n" for line in code.splitlines())
    script.write_text(f"{CASE}\nif __name__ == '__main__':\n    pass\n{body}", encoding="utf-8")
    source = environment.pop("source", Path(sfumato.geodesic.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", str(script)],
        env={**os.environ, "PYTHONPATH": str(source), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", JOBS)
def test_the_same_bits_come_out_of(name, tmp_path):
    done = run(JOBS[name], folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_read_only_installation_falls_back_to_the_users_cache_and_then_to_none(tmp_path):
    source = tmp_path / "site"
    package = Path(sfumato.geodesic.__file__).parents[1]
    shutil.copytree(package, source / "sfumato", ignore=shutil.ignore_patterns("__pycache__"))
    blocked = source / "sfumato" / "geodesic" / "engine" / "__pycache__"
    blocked.write_text("a file where the folder would be", encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    small = "assert np.isfinite(EXPECTED).all()"
    options = {"source": source, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run(small, folder=tmp_path, XDG_CACHE_HOME=str(home / "cache"), **options)
    assert done.returncode == 0, done.stderr
    assert list((home / "cache").rglob("*.nbi"))
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder", encoding="utf-8")
    done = run(small, folder=tmp_path, XDG_CACHE_HOME=str(nowhere), **options)
    assert done.returncode == 0, done.stderr
