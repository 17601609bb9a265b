"""The ``sfumato`` command: one command a file, loaded when it is called; one way for errors to the user."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

import sfumato
from sfumato.errors import SfumatoError, optional_libraries

COMMANDS = {
    "demo": "Train six methods on the hippocampus sample, evaluate them, and write one report.",
    "soften": "Make the soft label of one image and write it with the image's geometry.",
    "check": "Read every file of DATA, print what it holds, and list every problem; status 2 if there is "
    "one.",
    "train": "Train one recipe, then predict and evaluate its test cases: one complete run folder.",
    "predict": "Predict every case: NIfTI files with the input's affine, spacing and resolution.",
    "evaluate": "Score every case and write a tidy table; the settings lie beside it as JSON.",
    "threshold": "Sweep the threshold from 0.05 to 0.95: Dice and volume bias per run, and the value "
    "with the best Dice.",
    "compare": "Compare methods: mean and spread, paired Wilcoxon tests against one of them, mean ranks, "
    "volumes.",
    "study": "Train methods x seeds x folds, then compare them and write the report.",
    "reproduce": "Train a published experiment and print the paper's numbers beside yours.",
    "report": "Write one self-contained HTML page: tables, calibration, curves and a viewer of the cases.",
    "methods": "Print every method with its four parts: label, activation, loss, decoder.",
}
"""Each command and the first line of its help, which ``sfumato --help`` shows without importing it."""


class _LazyCommand(TyperCommand):
    """A command of the list, whose module is imported when it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401 - click's own types, which typer keeps to itself
        return load(str(self.name)).make_context(info_name, args, parent, **extra)


class _Commands(TyperGroup):
    """The list of all commands."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever typer passes on
        super().__init__(**options)
        for name, line in COMMANDS.items():
            self.add_command(_LazyCommand(name, help=line))


def load(name: str) -> TyperCommand:
    """Import the module of a command and build the command with all its options."""
    alone = typer.Typer(add_completion=False)
    alone.command(name)(getattr(import_module(f"sfumato.cli.{name}"), name))
    return cast("TyperCommand", typer.main.get_command(alone))


def _version(value: bool) -> None:
    if value:
        typer.echo(f"sfumato {sfumato.__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Take the options that stand before a command."""


def _group() -> TyperGroup:
    base = typer.Typer(
        cls=_Commands,
        name="sfumato",
        help=sfumato.__doc__.partition("\n")[0],
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    base.callback()(_options)
    return cast("TyperGroup", typer.main.get_command(base))


app = _group()


def run(arguments: Sequence[str]) -> int:
    """Run one command line; what our loggers warn of goes to standard error.

    Returns:
        The exit status: 0 when the job did all of its work; 1 when the machine failed; 2 for wrong input. The
        reason is one line on standard error (one more line for each further problem of a data set).
    """
    try:
        with _warnings_shown(), optional_libraries():
            status = app(args=list(arguments), prog_name="sfumato", standalone_mode=False)
    except SfumatoError as error:
        return _say(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _say("stopped by the user; the same command with --resume goes on where it can", 130)
    except MemoryError:
        return _say("the machine's memory is full", 1)
    except OSError as error:
        return _operating_system(error)
    except Exception as error:
        return _unexpected(error)
    return status if isinstance(status, int) else 0


@contextmanager
def _warnings_shown() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    # Errors end the command, and are told then.
    handler.addFilter(lambda record: record.levelno < logging.ERROR)
    handler.setFormatter(logging.Formatter("sfumato: warning: %(message)s"))
    logger = logging.getLogger("sfumato")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _operating_system(error: OSError) -> int:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _say(f"the disk is full: {error.filename or error}", 1)
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | PermissionError):
        return _say(f"{error.strerror}: {error.filename}", 2)
    return _unexpected(error)


def _unexpected(error: Exception) -> int:
    # Typer raises click's own errors for a wrong option; they know how to show themselves.
    show, status = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if show is not None and status is not None:
        return _say(show() or "see sfumato --help", int(status))
    if os.environ.get("SFUMATO_DEBUG"):
        traceback.print_exception(error)
    return _say(
        f"something failed that should not ({type(error).__name__}: {error}); "
        "set SFUMATO_DEBUG=1 for the traceback and report it",
        1,
    )


def _say(message: str, status: int) -> int:
    print(f"sfumato: {message}", file=sys.stderr)
    return status


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))
