# Each target makes the environment it needs: Python 3.11 to 3.13 and a package index are enough.
# `make test EXTRAS=dev,torch` also tests against PyTorch. On Linux, a package index without its CPU
# build gives the CUDA one, which is gigabytes: hence not by default.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= dev
WORKERS ?= 2
READY = $(VENV)/.ready-$(EXTRAS)

.PHONY: reproduce test lint clean

reproduce: $(READY)
	$(BIN)/msae reproduce sines

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV)
