"""Build the API pages from the docstrings: python docs/build.py --out docs/_site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pdoc
import pdoc.render


def main() -> int:
    """Write one page per public module, and an index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/_site"))
    out = parser.parse_args().out
    pdoc.render.configure(docformat="google", footer_text="Sfumato")
    pdoc.pdoc("sfumato", output_directory=out)
    print(f"{len(list(out.rglob('*.html')))} pages: {out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
