"""The ``sfumato`` command: one command a file, one way for errors to reach the user."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from sfumato.cli.check import check
from sfumato.cli.compare import compare
from sfumato.cli.demo import demo
from sfumato.cli.evaluate import evaluate
from sfumato.cli.methods import methods
from sfumato.cli.predict import predict
from sfumato.cli.report import report
from sfumato.cli.reproduce import reproduce
from sfumato.cli.soften import soften
from sfumato.cli.study import study
from sfumato.cli.threshold import threshold
from sfumato.cli.train import train
from sfumato.errors import SfumatoError

app = typer.Typer(
    name="sfumato",
    help="Soft labels for medical image segmentation: build them, train with them, measure what they buy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    *(demo, soften, check, train, predict, evaluate),
    *(threshold, compare, study, reproduce, report, methods),
)
for _command in _COMMANDS:
    app.command(_command.__name__)(_command)


def _version(value: bool) -> None:
    if value:
        from sfumato import __version__

        typer.echo(f"sfumato {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status; what our loggers warn of goes to standard error.

    Returns:
        0 when the job did all of its work; 1 when the machine failed; 2 for wrong input. The reason is one
        line on standard error (one more line for each further problem of a data set).
    """
    try:
        with _warnings_shown():
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


if __name__ == "__main__":
    main()
