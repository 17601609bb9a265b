"""Without an optional library, what needs it says in one line which extra to install."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sfumato.errors import EXTRAS, MissingExtraError, optional_libraries

DISTRIBUTIONS = {"yaml": "pyyaml", "PIL": "pillow"}
LIBRARIES = {library: extra for extra, libraries in EXTRAS.items() for library in libraries}

# Hides one library after the other; imports every public package and asks every command for its help.
PROBE = """
import contextlib, importlib, io, json, pkgutil, sys

class Hidden:
    library = None
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = Hidden()
sys.meta_path.insert(0, hidden)
import sfumato
packages = [module.name for module in pkgutil.iter_modules(sfumato.__path__) if module.name != "__main__"]
messages = {}

def forget(*packages):
    for name in [*sys.modules]:
        if name.partition(".")[0] in packages:
            del sys.modules[name]

for library in sys.argv[1:]:
    forget("sfumato", library)
    hidden.library = library
    for package in packages:
        try:
            importlib.import_module(f"sfumato.{package}")
        except ImportError as error:
            messages[f"{library} {package}"] = f"{type(error).__name__}: {error}"
    if library not in ("nibabel", "jinja2"):  # one of each extra is enough for the commands
        continue
    from sfumato.cli.app import COMMANDS
    for command in COMMANDS:
        forget("sfumato")
        from sfumato.cli.app import run
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            status = run([command, "--help"])
        if status:
            messages[f"{library} sfumato {command}"] = f"{status} {said.getvalue()}"
print(json.dumps(messages))
"""


def without(library, *arguments):
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv[1:] = {list(arguments)!r}; import runpy; "
        "runpy.run_module('sfumato', run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.fixture(scope="module")
def messages():
    result = subprocess.run([sys.executable, "-c", PROBE, *LIBRARIES], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_package_and_command_names_the_extra_it_lacks(messages, library):
    line = f"{library} is not installed, which this needs: pip install 'sfumato[{LIBRARIES[library]}]'"
    for place, message in messages.items():
        if place.split()[0] == library:
            expected = f"2 sfumato: {line}\n" if " sfumato " in place else f"MissingExtraError: {line}"
            assert message == expected, place


@pytest.mark.parametrize(
    "place",
    [
        *("nibabel data", "nibabel sfumato soften", "nibabel sfumato train"),
        *("matplotlib report", "jinja2 sfumato reproduce", "pydantic study"),
    ],
)
def test_absence_is_noticed_where_the_library_is_needed(messages, place):
    assert place in messages


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_command_without_its_own_libraries_says_what_to_install(library):
    result = without(library, "--help")
    assert result.returncode == 2
    assert (
        result.stderr
        == f"sfumato: {library} is not installed, which this needs: pip install 'sfumato[train]'\n"
    )


@pytest.mark.parametrize("library", ["monai", "einops"])
def test_network_without_its_libraries_says_what_to_install(library):
    code = (
        f"import sys; sys.modules[{library!r}] = None; from sfumato.networks import build; "
        "build('unetr', in_channels=1, out_channels=2, image_size=(16, 16, 16))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.endswith(
        f"MissingExtraError: {library} is not installed, which this needs: pip install 'sfumato[train]'"
    )


def test_extras_are_those_of_the_project():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)["project"]["optional-dependencies"]
    for extra, libraries in EXTRAS.items():
        names = {re.split(r"[\[<>=;~! ]", line)[0].lower() for line in declared[extra]}
        assert {DISTRIBUTIONS.get(library, library) for library in libraries} <= names


def test_other_absences_stay_what_they_are():
    with pytest.raises(ModuleNotFoundError, match="no_such_library"), optional_libraries():
        import no_such_library  # noqa: F401
    assert issubclass(MissingExtraError, ImportError)
