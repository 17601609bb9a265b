"""The import table of ``docs/architecture.md`` holds, and light packages stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sfumato

SOURCE = Path(sfumato.__file__).parent
TABLE = SOURCE.parents[1] / "docs" / "architecture.md"
BASE = {"types", "errors", "checks", "output"}
FREE = {
    "numpy",
    "scipy",
    "torch",
    "jaxtyping",
    "pandas",
    "yaml",
    "pydantic",
    "PIL",
    "tifffile",
    "typing_extensions",
}


def rows():
    text = TABLE.read_text().split("## Who may import whom")[1].split("## A run")[0]
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"[a-z]+", cells[0]) and cells[0] != "package":
            allowed = {word.strip() for word in cells[1].split(",")}
            yield cells[0], allowed, {word.strip() for word in cells[2].split(",") if word.strip()}


ROWS = {name: (allowed, outside) for name, allowed, outside in rows()}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (
                f"{node.module}.{alias.name}" if node.module == "sfumato" else node.module
                for alias in node.names
            )


def modules(package):
    folder = SOURCE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{package}.py"]


@pytest.mark.parametrize("package", ROWS)
def test_package_imports_only_what_its_row_allows(package):
    allowed, _ = ROWS[package]
    if "everything" in allowed:
        return
    names = (allowed - {"base"}) | BASE | {package, "__version__"}
    for path in modules(package):
        for module in imports(path):
            if module.startswith("sfumato."):
                assert module.split(".")[1] in names, f"{path.name} of {package} imports {module}"


@pytest.mark.parametrize("package", ROWS)
def test_special_library_is_imported_only_where_the_table_says(package):
    special = set().union(*(outside for _, outside in ROWS.values()))
    _, mine = ROWS[package]
    # MONAI serves the networks and the sliding window too, and cli draws previews.
    extra = {
        "networks": {"monai"},
        "prediction": {"monai"},
        "training": {"monai"},
        "metrics": {"numba"},
        "cli": {"matplotlib"},
    }
    for path in modules(package):
        for module in imports(path):
            library = module.split(".")[0]
            if library in special:
                assert library in mine | extra.get(package, set()), (
                    f"{path.name} of {package} imports {library}"
                )


@pytest.mark.parametrize("package", ROWS)
def test_nothing_imports_the_command_line_or_the_integrations(package):
    for path in modules(package):
        if package in ("cli", "integrations"):
            continue
        for module in imports(path):
            assert not module.startswith(("sfumato.cli", "sfumato.integrations"))


@pytest.mark.parametrize("package", ["labels", "losses", "metrics", "geodesic"])
def test_light_package_does_not_bring_heavy_libraries(package):
    heavy = "('lightning', 'dask', 'typer', 'monai', 'pandas', 'matplotlib', 'plotly', 'nibabel')"
    code = f"import sys, sfumato.{package}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_module_is_longer_than_four_hundred_lines():
    too_long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert too_long == {}


def test_shape_strings_stand_only_in_types():
    pattern = re.compile(r"\b(Float|Float32|Int|Bool|Shaped)\[[A-Za-z.]+, \"")
    found = [path.name for path in SOURCE.rglob("*.py") if pattern.search(path.read_text())]
    assert found == ["types.py"]
