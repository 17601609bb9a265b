"""The list of commands: it agrees with the commands, and is shown without importing any of them."""

import subprocess
import sys

import pytest

from sfumato.cli.app import COMMANDS, load

# Prints which of the named modules a command line imported.
PROBE = """
import sys
from sfumato.cli.app import run
status = run(sys.argv[1:])
heavy = ("torch", "numpy", "lightning", "pandas", "sfumato.cli.train", "sfumato.data")
print("\\nstatus", status, *(name for name in heavy if name in sys.modules))
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_listed_line_begins_the_help_of_its_command(name):
    command = load(name)
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["-h"], 0), (["--version"], 0), (["trian"], 2), (["--colour"], 2), ([], 2)],
)
def test_what_runs_no_command_imports_none(arguments, status):
    result = subprocess.run([sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == f"status {status}", result.stderr
    if "--help" in arguments:
        assert all(name in result.stdout for name in COMMANDS)


def test_package_itself_is_the_command():
    result = subprocess.run([sys.executable, "-m", "sfumato", "trian"], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "sfumato: No such command 'trian'. Did you mean 'train'?\n"
