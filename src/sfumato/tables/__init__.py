"""One table of aggregated numbers, and its forms: terminal, CSV, Markdown, LaTeX, HTML."""
