# Every target works from a fresh clone with nothing but Python 3.10 or newer: the first one makes .venv.
# `make` alone lists them.

PYTHON ?= python3#  the interpreter that environments are made from
DATASETS ?=#        a version of `datasets` to pin, as in `make test DATASETS=3.6.0`; the newest if empty
CONSTRAINTS ?=#     a pip constraints file, as in `make test CONSTRAINTS=.ci/lowest.txt`
JOBS ?= 2#          processes that pytest runs tests in
ARGS ?=#            more arguments for the tool, as in `make test ARGS="-k layouts"`

# Each interpreter and each pin has an environment of its own, so that none is ever stale.
VENV ?= .venv$(addprefix -,$(notdir $(filter-out python3,$(PYTHON))))$(addprefix -datasets-,$(DATASETS))$(addprefix -,$(basename $(notdir $(CONSTRAINTS))))
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
# Python compiles what is imported when it is imported. For pip to compile all of torch takes longer than installing it.
INSTALL = $(PIP) install --quiet --no-compile
PINS = $(addprefix datasets==,$(DATASETS)) $(addprefix --constraint ,$(CONSTRAINTS))
INSTALLED = $(VENV)/.installed
INSTALLED_TORCH = $(VENV)/.installed-torch
INSTALLED_BENCHMARK = $(VENV)/.installed-benchmark

# What one process has compiled, the many others use, even where Python is told not to keep it.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help env env-test env-benchmark demo test fuzz coverage lint format types types-script types-stub types-agree benchmark dataset-infos package clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
		printf '%-14s %s\n' "$$name" "$$what"; done

env: $(INSTALLED) ## make the environment, and list what is in it
	$(PIP) list

env-test: $(INSTALLED_TORCH) ## make the environment, with what the tests need

env-benchmark: $(INSTALLED_BENCHMARK) ## make the environment, with what the benchmarks need

demo: $(INSTALLED) ## make a small synthetic dataset and read it in every way
	$(BIN)/python examples/demo.py $(ARGS)

test: $(INSTALLED_TORCH) ## run the tests (this alone installs torch)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

fuzz: $(INSTALLED_TORCH) ## try broken and hostile files of every format, for MINUTES=5; what is found lies in build/fuzz
	cd tests && HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 $(abspath $(BIN))/python -m fuzz --minutes $(or $(MINUTES),5) $(ARGS)

coverage: $(INSTALLED_TORCH) ## run the tests, and print what they cover: lines and branches, in child processes too
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(INSTALLED) ## check style and formatting, and what GitHub reads
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

format: $(INSTALLED) ## repair what lint can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Beside seamless_interaction.py, the stub seamless_interaction/__init__.pyi has the same module name and wins. So:
# first the script itself, named as a file, with the stub left out; then the stub and what uses it, as users see it;
# then whether stub and script agree.
types: types-script types-stub types-agree ## check types: the implementation, the stub, and that they agree (-j2: at once)

types-script: $(INSTALLED)
	$(BIN)/mypy --cache-dir .mypy_cache/implementation seamless_interaction.py $(wildcard seamless_interaction/*.py seamless_interaction/*/*.py seamless_interaction/*/*/*.py)

types-stub: $(INSTALLED)
	$(BIN)/mypy --cache-dir .mypy_cache/stub seamless_interaction $(wildcard examples/*.py)

types-agree: $(INSTALLED)
	$(BIN)/stubtest --mypy-config-file pyproject.toml --allowlist .ci/stubtest-allowlist.txt --ignore-unused-allowlist seamless_interaction

benchmark: $(INSTALLED_BENCHMARK) ## measure, on synthetic data
	$(BIN)/python benchmarks/run.py $(ARGS)

dataset-infos: $(INSTALLED) ## write dataset_infos.json from the builder script
	$(BIN)/python -m seamless_interaction.dataset_infos > dataset_infos.json.part
	mv dataset_infos.json.part dataset_infos.json

package: $(INSTALLED) ## build the wheel, install it into an environment of its own, and use it there
	rm -rf build/package
	$(PIP) wheel --quiet --no-deps --wheel-dir build/package .
	$(BIN)/python .ci/check_wheel.py build/package/*.whl build/package/environment

clean: ## remove environments, caches and builds
	rm -rf .venv* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A recent pip, because it knows the dependency groups of pyproject.toml.
$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade "pip>=25.1"
	$(INSTALL) --editable ".[dev]" $(PINS)
	@touch $@

$(INSTALLED_BENCHMARK): $(INSTALLED)
	$(INSTALL) --editable ".[benchmark]" $(PINS)
	@touch $@

$(INSTALLED_TORCH): $(INSTALLED)
	$(INSTALL) --group test $(if $(strip $(PINS)),,--group test-newest) $(PINS)
	@touch $@
