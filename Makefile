# Each target makes the environment it needs: Python 3.11 to 3.13 and a package index are enough.
# `make test EXTRAS=dev,torch` also tests against PyTorch. On Linux, a package index without its CPU
# build gives the CUDA one, which is gigabytes: hence not by default.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS ?= dev
WORKERS ?= 2
# By path: the long files have few tests, and would come last by their number.
PARALLEL = --durations 30 -n $(WORKERS) --dist loadfile --no-loadscope-reorder
READY = $(VENV)/.ready-$(EXTRAS)

.PHONY: reproduce test test-slow test-lowest lint docs clean

reproduce: $(READY)
	$(BIN)/msae reproduce sines

test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

# Whole studies, the pages, sweeps over all models, and the campaign of faults: damaged files, kills,
# two writers, full disks. MSAE_CAMPAIGN_SHARE=0.01 tries a hundredth of these, and
# IGNORE=tests/campaign none.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(PARALLEL) $(addprefix --ignore ,$(IGNORE))

# What trains, writes and reads, at the lower end of every range of pyproject.toml.
test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python .ci/lowest.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		-c $(VENV)-lowest/constraints.txt -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest $(PARALLEL) tests/train tests/runs \
		tests/fitting tests/models tests/data tests/cli

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/site/; a dead link or a page that cannot be built is an error.
docs:
	$(MAKE) $(VENV)/.ready-$(EXTRAS),docs EXTRAS=$(EXTRAS),docs
	$(BIN)/python -m docs.make_site

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build/docs build/site
