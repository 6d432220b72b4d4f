# Everything here makes its own virtual environment; only Python 3.11 to 3.13 and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := ./.demo

# One BLAS thread per process: several processes compute at once.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint fast soak results methods gpu clean

demo: $(STAMP)
	scripts/runtime $(BIN)/python || true
	env -u OMP_NUM_THREADS $(BIN)/lewm quickstart --home $(DEMO)

test: lint
	scripts/browser
	scripts/runtime $(BIN)/python || true
	scripts/rendering $(BIN)/python
	LEWM_TEST_DEVICE=cpu $(BIN)/pytest -n 2 --dist loadfile -m "not soak"

lint: $(STAMP)
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

# Without the tests that record, train or fill disks: seconds, for every supported Python.
fast: $(STAMP)
	$(BIN)/pytest -m "not soak and not slow"

soak: $(STAMP)
	$(BIN)/pytest -m "soak"

# docs/results.md, measured anew: about an hour and a half. What .results holds already is not measured again.
results: $(STAMP)
	$(BIN)/python bench/results.py tworoom pusht cube reacher --home .results

# docs/methods.md, measured anew: about five hours on two cores. What .results/methods holds already is not measured again.
methods: $(STAMP)
	$(BIN)/python bench/methods.py .results/methods

# What only a GPU can show: its tests, then what steps and plans take. Under nine minutes, into .results/gpu.
gpu: $(STAMP)
	$(BIN)/python bench/gpu.py --out .results/gpu

# One row of docs/results.md, like results-pusht.
results-%: $(STAMP)
	$(BIN)/python bench/results.py $* --home .results

$(STAMP): pyproject.toml constraints.txt scripts/install
	@scripts/install $(PYTHON) $(VENV)
	@touch $(STAMP)

clean:
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache .hypothesis
