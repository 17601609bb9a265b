# One front door: demo, test, check, bench, docs. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Shapes are checked in the label modules one by one: Numba could not compile checked kernels.
LABELS := $(patsubst src/sfumato/labels/%.py,sfumato.labels.%,$(wildcard src/sfumato/labels/[a-z]*.py))
SHAPED := $(LABELS) sfumato.losses sfumato.metrics sfumato.activations sfumato.decode sfumato.geodesic.distance
SHAPES := $(shell echo $(SHAPED) typechecker.check | tr ' ' ',')
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

.PHONY: demo test check bench docs format clean

demo: $(READY)
	$(BIN)/sfumato demo --out demo --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --jaxtyping-packages=$(SHAPES)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/geodesic.py
	$(BIN)/python benchmarks/surface.py
	$(BIN)/python benchmarks/label_truth.py

docs: $(READY)
	$(BIN)/python docs/build.py --out docs/_site

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The stamp file is written last, so that a broken installation is tried again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Sfumato needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,report,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
