"""Machine code on disk: read again, apart by version, and never in the way."""

import ast
import importlib.util
import resource
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest

from sfumato.geodesic.engine import jit

SOURCE = """
def double(value):
    return value + value

def wait(flags, at, turns):
    for turn in range(turns):
        flags[at] = turn + 1
        if flags[0]:
            return True
    return False
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one module besides the one that compiles it; nothing else is in its cache."""
    folder = tmp_path / "package"
    folder.mkdir()
    shutil.copy(jit.__file__, folder / "jit.py")
    (folder / "tiny.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def module(path, monkeypatch):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, found)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def compiled(package, monkeypatch):
    """A function of the package, as a process that starts now would compile it."""

    def start(name="double"):
        function = getattr(module(package / "tiny.py", monkeypatch), name)
        return module(package / "jit.py", monkeypatch).compiled(function)

    return start


def reads(function):
    return sum(function.stats.cache_hits.values())


def files(folder):
    return sorted(path.name for path in folder.rglob("*.nb[ci]"))


def test_what_one_process_compiled_the_next_one_reads(compiled):
    first, second = compiled(), compiled()
    assert (first(3), reads(first)) == (6, 0)
    assert (second(3), reads(second)) == (6, 1)


def test_any_changed_file_of_the_package_has_all_compiled_anew(package, compiled):
    compiled()(3)
    (package / "other.py").write_text("STEP = 2\n", encoding="utf-8")
    second = compiled()
    assert (second(3), reads(second)) == (6, 0)


def test_kernels_in_a_folder_of_their_own_follow_it_and_the_engine_alone(package, monkeypatch):
    kernels = package / "kernels"
    kernels.mkdir()
    (kernels / "tiny.py").write_text(SOURCE, encoding="utf-8")

    def hits(folder):
        function = module(package / "jit.py", monkeypatch).compiled(
            module(folder / "tiny.py", monkeypatch).double
        )
        assert function(3) == 6
        return reads(function)

    assert [hits(package), hits(kernels), hits(package), hits(kernels)] == [0, 0, 1, 1]
    (kernels / "other.py").write_text("STEP = 2\n", encoding="utf-8")
    assert [hits(package), hits(kernels)] == [1, 0]
    (package / "other.py").write_text("STEP = 2\n", encoding="utf-8")
    assert [hits(package), hits(kernels)] == [0, 0]


def decorators(function):
    return {
        name.id for part in function.decorator_list for name in ast.walk(part) if isinstance(name, ast.Name)
    }


def test_machine_code_is_made_of_its_own_folder_and_the_engine_alone():
    package = Path(jit.__file__).parents[2]
    foreign, compiled = [], 0
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        folders = ("sfumato.geodesic.engine", ".".join(("sfumato", *path.parent.relative_to(package).parts)))
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("sfumato")
            if node.module not in folders and node.module.rpartition(".")[0] not in folders
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and decorators(node) & {
                "compiled",
                "register_jitable",
                "overload",
            }:
                compiled += 1
                used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                foreign += [(path.name, node.name, name) for name in used & imported]
    assert compiled > 30
    assert foreign == []


def test_other_versions_are_removed_wherever_the_function_stood(package, compiled):
    kept = package / "__pycache__" / "tiny.double-2.py27-0123456789ab.nbi"
    kept.parent.mkdir()
    kept.write_bytes(b"another Python's")
    compiled()(3)
    before = set(files(package))
    compiled("wait")(np.ones(2, np.int64), 1, 1)
    neighbor = set(files(package)) - before
    (package / "tiny.py").write_text(f"\n\n{SOURCE}", encoding="utf-8")
    compiled()(3)
    after = set(files(package))
    assert len(before) == 3
    assert len(neighbor) == 2
    assert before & after == {kept.name}
    assert neighbor < after
    assert len(after) == 5


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 40, None])
def test_a_damaged_file_is_written_anew(package, compiled, kind, left):
    compiled()(3)
    (path,) = package.rglob(f"*.{kind}")
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)) if left is None else whole[:left])
    second, third = compiled(), compiled()
    assert (second(3), reads(second)) == (6, 0)
    assert (third(3), reads(third)) == (6, 1)


@contextmanager
def full_disk():
    """No byte can be written to a file, as on a full disk; files can be made."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_full_disk_costs_the_cache_alone(package, compiled, damaged):
    if damaged:
        compiled()(3)
        (path,) = package.rglob("*.nbi")
        path.write_bytes(b"")
    before = files(package)
    with full_disk():
        assert compiled()(3) == 6
    assert files(package) == before


def test_a_folder_lost_after_the_start_costs_the_cache_alone(package, compiled):
    function = compiled()
    folder = package / "__pycache__"
    shutil.rmtree(folder)
    folder.write_text("a file where the folder would be", encoding="utf-8")
    assert function(3) == 6
    folder.unlink()
    assert function(1.5) == 3.0
    assert files(package) == []


def test_a_read_only_package_is_kept_in_the_users_folder_and_then_nowhere(package, compiled, tmp_path):
    (package / "__pycache__").write_text("a file where the folder would be", encoding="utf-8")
    compiled()(3)
    second = compiled()
    assert (second(3), reads(second)) == (6, 1)
    assert len(files(tmp_path / "user")) == 2
    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").write_text("not a folder", encoding="utf-8")
    assert compiled()(3) == 6


def test_a_package_file_that_cannot_be_read_costs_the_cache_alone(package, compiled):
    # As an editor's lock on an open file: a link to nowhere.
    (package / ".#tiny.py").symlink_to(package / "nowhere")
    assert compiled()(3) == 6
    assert files(package) == []


def test_other_threads_run_while_compiled_code_does(compiled):
    wait = compiled("wait")
    flags = np.zeros(2, np.int64)
    wait(flags, 1, 1)
    flags[1] = 0
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(wait, flags, 1, 2**31)
        while not flags[1]:
            time.sleep(0.001)
        flags[0] = 1
        assert seen.result()
