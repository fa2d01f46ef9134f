# GNU make; `make` alone lists the targets. Everything is installed into .venv, nothing outside this folder.
.PHONY: help run lab test check lint ruff bench tables site links faults mutants notebooks clean colab lowest badges wheel student \
        screenshots
.DEFAULT_GOAL := help

BIN := .venv/bin
FINAL := 09_finetune_starcoder
# Test processes with one PyTorch thread each, for two cores: two for the fast tests, three for all, of which one often
# waits. glibc gives large tensors back to the system and asks for them again at every step, unless told not to: a tenth
# of the time.
MALLOC := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296
PYTEST := OMP_NUM_THREADS=1 $(MALLOC) $(BIN)/pytest --dist loadfile --no-loadscope-reorder
NBVAL := $(PYTEST) -n 3 --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/nbval_sanitize.cfg \
         --nbval-cell-timeout 300

TYPES := $(BIN)/pyright --pythonpath $(BIN)/python

BENCHMARKS = $(filter-out __init__, $(notdir $(basename $(wildcard benchmarks/*.py))))

run test check notebooks: export HF_HUB_OFFLINE := 1
run test check notebooks: export LORABOOK_MODEL := pocket
# Adapters that the tested notebooks train go to build/, not among the reader's own in notebooks/runs.
test: export LORABOOK_OUTPUT := $(CURDIR)/build/test/final

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/.lab ## run the final notebook on the pocket model: build/09_finetune_starcoder.html
	$(BIN)/python -m scripts.notebooks.run notebooks/$(FINAL).ipynb build/$(FINAL).html

lab: .venv/.lab ## open the workbook in JupyterLab, a copy of your own in workbook/
	$(BIN)/lorabook workbook workbook --open

test: ruff ## run all tests, every notebook against its stored outputs, the browser tests
	$(NBVAL) notebooks tests

check: ruff ## run ruff and the fast tests, a minute
	$(PYTEST) -n 2 -m "not slow and not seconds and not browser and not hub"

lint: ruff ## run ruff and pyright
	$(TYPES)

ruff: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

bench: .venv/.test ## run every benchmark; each writes benchmarks/results/NAME.json
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

faults: .venv/.test ## inject crashes, full disks, damaged files …: benchmarks/results/faults.json, up to an hour
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults

mutants: .venv/.test ## break the library in many small ways, count what tests catch: benchmarks/results/mutants.json, up to an hour
	$(BIN)/python -m scripts.checks.mutants
	$(BIN)/python -m scripts.checks.mutate --named

tables: .venv/.lab ## rewrite the tables of README.md and benchmarks/README.md from the stored results
	$(BIN)/python -m scripts.checks.tables

site: .venv/.site ## build the book as a site, with the reference of the library from its docstrings: build/site
	$(BIN)/python -m scripts.notebooks.site
	@echo build/site/index.html

links: .venv/.site ## ask for every address on the web that the book links to: build/site-linkcheck/output.txt
	$(BIN)/python -m scripts.notebooks.site linkcheck

notebooks: .venv/.lab ## run every notebook and store its outputs, cleaned
	$(BIN)/python -m scripts.notebooks.execute

colab: .venv/.test ## run every notebook with the package versions of Colab (first downloads about 3 GB): build/colab.log
	$(BIN)/python -m scripts.checks.colab

lowest: .venv/.test ## run the tests with the lowest versions that pyproject.toml admits, in .venv-lowest
	$(BIN)/python -m pip install --quiet 'uv>=0.7'
	$(BIN)/python -m scripts.checks.lowest

badges: .venv/.lab ## write where the project is published: make badges SLUG=owner/name [PYPI=1], SLUG=none if nowhere
	$(BIN)/python -m scripts.notebooks.badges $(if $(SLUG),--slug $(SLUG)) $(if $(PYPI),--pypi)

wheel: .venv/.lab ## build the package with its notebooks: dist/lorabook-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

student: .venv/.lab ## write the notebooks for a class, not yet run and without answers: build/student
	$(BIN)/python -m scripts.notebooks.student

screenshots: .venv/.test ## take pictures of the workbook in JupyterLab and on GitHub: build/screenshots
	$(BIN)/python -m scripts.notebooks.readme_picture
	$(BIN)/python -m scripts.notebooks.screenshots

clean: ## remove caches and build outputs; keep .venv and build/pocket, which took hours of pre-training
	rm -rf dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find lorabook tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name pocket -exec rm -rf {} +

# One environment in stages: the notebooks need fewer packages than the tests. A change to pyproject.toml reinstalls.
.venv/.lab: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[lab]'
	@touch $@

.venv/.site: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[site]'
	@touch $@

.venv/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[lab,site,test,trl]'
	@touch .venv/.lab .venv/.site $@

# The first suitable Python: the one asked for (make PYTHON=...), then the one on the path, then by version.
$(BIN)/python:
	@for python in $(PYTHON) python3 python python3.13 python3.12 python3.11; do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    $$python -m venv --clear .venv; exit; \
	  fi; \
	done; \
	echo "Python 3.11 or newer with venv is needed: none of python3, python, python3.13 to python3.11 is both." >&2; \
	echo "Install it (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)," >&2; \
	echo "or name the one to use: make PYTHON=/path/to/python3" >&2; \
	exit 1
