"""The import table of ``docs/architecture.md`` holds, nothing in it is idle, light packages stay light."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sfumato

SOURCE = Path(sfumato.__file__).parent
ROOT = SOURCE.parents[1]
BASE = {"types", "errors", "checks", "output", "rows"}
FREE = {"numpy", "scipy", "torch"}
# Declared, and needed without an import of ours: what uses it stands behind.
INDIRECT = {
    "tensorboard": "the logger of lightning writes its files",
    "einops": "monai's transformers import it",
}
# How a distribution is called when it is imported.
MODULES = {
    "scikit-image": "skimage",
    "pyyaml": "yaml",
    "pillow": "PIL",
}


def rows():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for line in text.split("## Packages")[1].split("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"[a-z]+", cells[0]) and cells[0] != "package":
            split = [{word.strip() for word in cell.split(",") if word.strip()} for cell in cells[2:]]
            yield cells[0], (cells[1], *split)


ROWS = dict(rows())
ORDER = list(ROWS)


def imports(path):
    """Yield what a file imports, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of(package):
    folder = SOURCE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{package}.py"]


def own_packages(package):
    """Yield the other packages of ours that a package imports, with the file."""
    for path in files_of(package):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "sfumato" and len(parts) > 1 and parts[1] not in (package, "__version__"):
                yield parts[1], path


def outside_libraries(package):
    for path in files_of(package):
        for name in imports(path):
            library = name.split(".")[0]
            if library != "sfumato" and library not in sys.stdlib_module_names | FREE:
                yield library, path


def test_every_package_has_a_row_with_one_sentence():
    present = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert present - {"__init__", "__main__"} == set(ROWS)
    assert all(sentence for sentence, _, _ in ROWS.values())


@pytest.mark.parametrize("package", ROWS)
def test_package_imports_only_what_its_row_allows(package):
    _, allowed, _ = ROWS[package]
    if "everything" in allowed:
        return
    names = (allowed - {"base"}) | (BASE if "base" in allowed else set())
    for name, path in own_packages(package):
        assert name in names, f"{path.relative_to(SOURCE)} imports sfumato.{name}"


@pytest.mark.parametrize("package", ROWS)
def test_rows_allow_only_packages_above_them(package):
    _, allowed, _ = ROWS[package]
    before = set(ORDER[: ORDER.index(package)]) | {"base", "everything"}
    assert allowed <= before, f"{package} may import {allowed - before}, which stand below it"


@pytest.mark.parametrize("package", ROWS)
def test_no_permission_is_idle(package):
    _, allowed, libraries = ROWS[package]
    used = {name for name, _ in own_packages(package)}
    idle = {name for name in allowed - {"everything"} if not (BASE if name == "base" else {name}) & used}
    idle |= libraries - {name for name, _ in outside_libraries(package)}
    assert not idle, f"{package} may import {', '.join(sorted(idle))}, but does not"


@pytest.mark.parametrize("package", ROWS)
def test_outside_library_is_imported_only_where_the_table_says(package):
    _, allowed, libraries = ROWS[package]
    for library, path in outside_libraries(package):
        listed = library in libraries or ("everything" in allowed and library in ("yaml", "matplotlib"))
        assert listed, f"{path.relative_to(SOURCE)} imports {library}"


def test_no_module_imports_itself_over_others():
    modules = {
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
    }
    graph = {}
    for module, path in modules.items():
        names = {name if name in modules else name.rpartition(".")[0] for name in imports(path)}
        # A package's __init__ re-exports its modules: that they lie in it is no import of it.
        graph[module] = {name for name in names & modules.keys() if name not in (module, "sfumato")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_every_declared_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *(line for name in extras if name != "dev" for line in extras[name]),
    ]
    names = {re.split(r"[\[<>=;~! ]", line)[0].lower() for line in declared}
    used = {library for package in ROWS for library, _ in outside_libraries(package)} | FREE
    idle = {name for name in names if MODULES.get(name, name) not in used and name not in INDIRECT}
    assert not idle, f"nothing imports {', '.join(sorted(idle))}"


@pytest.mark.parametrize("package", ["", ".labels", ".losses", ".metrics", ".geodesic", ".model"])
def test_light_package_does_not_bring_heavy_libraries(package):
    heavy = "('lightning', 'dask', 'typer', 'pandas', 'matplotlib', 'plotly', 'monai.data', 'monai.engines')"
    if package != ".model":
        heavy = heavy[:-1] + ", 'monai', 'nibabel')"
    code = f"import sys, sfumato{package}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_module_is_longer_than_four_hundred_lines():
    too_long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert too_long == {}


def test_shape_strings_stand_only_in_types():
    pattern = re.compile(r"\b(Float|Float32|Int|Bool|Shaped)\[[A-Za-z.]+, \"")
    holders = [path.name for path in SOURCE.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))]
    assert holders == ["types.py"]


def test_no_module_compares_a_target_kind_with_a_string():
    pattern = re.compile(r"[!=]= [\"'](classes|regions|signed)[\"']|in \([\"'](classes|regions|signed)[\"']")
    holders = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert holders == []
