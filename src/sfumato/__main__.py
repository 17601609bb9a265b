"""``sfumato`` and ``python -m sfumato``: the command line, or one line that says what it lacks."""

from __future__ import annotations

import sys

from sfumato.errors import MissingExtraError, optional_libraries


def main() -> None:
    """Run the command line of this process."""
    try:
        with optional_libraries():
            # Late: typer comes with an extra, and its absence is to be one line.
            from sfumato.cli.app import run
    except MissingExtraError as error:
        print(f"sfumato: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
