# GNU make; `make` alone lists the targets. Everything is installed into .venv, nothing outside this folder.
.PHONY: help run lab test check lint bench tables docs faults mutants notebooks clean colab badges student screenshots
.DEFAULT_GOAL := help

BIN := .venv/bin
FINAL := 09_finetune_starcoder
# Two test processes of one thread each: with PyTorch's own threads on top they would fight for the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile
# Notebooks run one at a time with every core, as a reader runs them.
NBVAL := $(BIN)/pytest --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/nbval_sanitize.cfg \
         --nbval-cell-timeout 300

run test check notebooks: export HF_HUB_OFFLINE := 1
run test check notebooks: export LORABOOK_MODEL := pocket
# What the notebooks leave behind when they are tested is no reader's: not in notebooks/runs.
test: export LORABOOK_OUTPUT := $(CURDIR)/build/test/final

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: .venv/.lab ## run the final notebook on the pocket model and write build/09_finetune_starcoder.html
	$(BIN)/python -m scripts.notebooks.run notebooks/$(FINAL).ipynb build/$(FINAL).html

lab: .venv/.lab ## open the workbook in JupyterLab
	$(BIN)/jupyter lab --notebook-dir notebooks

test: lint ## everything: lint, all tests, every notebook against its stored outputs, the browser
	$(PYTEST) -m "not browser"
	$(NBVAL) notebooks
	$(BIN)/pytest -m browser

check: lint ## lint and the fast tests, under a minute
	$(PYTEST) -m "not slow and not browser and not hub"

lint: .venv/.test ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: .venv/.test ## run every benchmark; each writes benchmarks/results/NAME.json
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

faults: .venv/.test ## put in every fault on purpose, say what came of it: benchmarks/results/faults.json, under an hour
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.faults

mutants: .venv/.test ## break the library on purpose, a test must notice: benchmarks/results/mutants.json, under an hour
	$(BIN)/python -m scripts.checks.mutants
	$(BIN)/python -m scripts.checks.mutate --named

tables: .venv/.lab ## put the stored results into the tables of README.md and benchmarks/README.md
	$(BIN)/python -m scripts.checks.tables

docs: .venv/.lab ## the reference of the library, from its docstrings: build/docs
	$(BIN)/python -m pip install --quiet 'pdoc>=15'
	$(BIN)/pdoc $(subst /,.,$(basename $(filter-out %__init__.py %__main__.py, $(wildcard lorabook/*.py lorabook/memory/*.py)))) \
	  --output-directory build/docs

notebooks: .venv/.lab ## run every notebook again and write its clean outputs back
	$(BIN)/python -m scripts.notebooks.execute

colab: .venv/.test ## run every notebook among Colab's package versions, in .venv-colab (some 3 GB at first): build/colab.log
	$(BIN)/python -m scripts.checks.colab

badges: .venv/.lab ## rewrite badges and addresses for where the project is published: make badges SLUG=owner/name
	$(BIN)/python -m scripts.notebooks.badges $(SLUG)

student: .venv/.lab ## write build/student: the notebooks for a class, with no outputs and no answers
	$(BIN)/python -m scripts.notebooks.student

screenshots: .venv/.test ## pictures of the workbook in JupyterLab and as GitHub shows it: build/screenshots
	$(BIN)/python -m scripts.notebooks.screenshots

clean: ## remove caches and build outputs; .venv and build/pocket (hours of pre-training) stay
	rm -rf dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find lorabook tests scripts benchmarks -name __pycache__ -prune -exec rm -rf {} +
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name pocket -exec rm -rf {} +

# One environment, two stages: reading and running need less than testing. A changed pyproject.toml installs anew.
.venv/.lab: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[lab]'
	@touch $@

.venv/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[lab,test]'
	@touch .venv/.lab $@

# The first Python that will do: the one asked for (make PYTHON=...), the one on the path, then by version.
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
