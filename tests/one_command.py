"""A command by itself, called as from the command line but with errors raised."""

import typer
from typer.testing import CliRunner


def runner(command):
    """A function that runs ``command`` with its arguments, expects success and gives the output."""
    app = typer.Typer()
    app.command()(command)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run
