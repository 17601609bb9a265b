"""What ``import sfumato`` shows: its public packages, each with the types that a type checker sees."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sfumato

# Argument checks, atomic files, the collecting of table rows and the command line are no library.
PRIVATE = {"checks", "output", "rows", "cli"}


def test_dir_lists_the_public_packages_and_nothing_else():
    folder = Path(sfumato.__file__).parent
    present = {
        path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(dir(sfumato)) == {name for name in present if not name.startswith("_")} - PRIVATE
    assert dir(sfumato) == sorted(dir(sfumato))


def test_every_listed_package_is_there_at_first_use():
    code = """
import sfumato
for name in sfumato.__all__:
    assert getattr(sfumato, name).__name__ == f"sfumato.{name}"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [name for name in sfumato.__all__ if name not in ("errors", "types")])
def test_every_package_lists_its_public_names_and_has_them(name):
    package = import_module(f"sfumato.{name}")
    public = getattr(package, "__all__", ())
    assert all(hasattr(package, member) for member in public)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lables'"):
        _ = sfumato.lables


@pytest.mark.slow
def test_a_type_checker_sees_the_real_signatures(tmp_path):
    """Every public function of the packages for a training loop is typed: none is Any."""
    packages = ("activations", "geodesic", "labels", "losses", "metrics", "model")
    names = [
        f"sfumato.{package}.{member}"
        for package in packages
        for member in getattr(import_module(f"sfumato.{package}"), "__all__", ())
    ]
    script = tmp_path / "use.py"
    script.write_text("import sfumato\n" + "".join(f"reveal_type({name})\n" for name in names))
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"MYPYPATH": str(Path(sfumato.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
    )
    revealed = [line for line in result.stdout.splitlines() if "Revealed type" in line and "use.py" in line]
    assert len(revealed) == len(names), result.stdout[-2000:] + result.stderr[-2000:]
    untyped = [name for name, line in zip(names, revealed, strict=True) if 'is "Any"' in line]
    assert untyped == []
