# Two commands do all: `make quickstart` and `make test`. Each sets up what it needs.
BIN := .venv/bin
MARK := .venv/.installed
# Where this is set, every process compiles all that it imports: 16 s instead of 6 for flows.jobs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup quickstart test test-real check lock scale plan-table gate-table soak bench growth means whole

setup: $(MARK)

$(MARK): requirements.lock pyproject.toml
	test -x $(BIN)/python || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $(MARK)

quickstart: setup  ## the main job on embedded data, offline
	HF_HUB_OFFLINE=1 $(BIN)/graft quickstart

check: setup  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup check  ## the checks, then the tests, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-real: setup  ## longer runs: on real data, and of the platform, its faults and pages
	$(BIN)/python -m pytest -m real -n 2 --dist loadfile --timeout=1800

scale: setup  ## how prepare and an epoch's iteration grow from 1 k to 10 M rows: half an hour, 4 GB of disk
	HF_HUB_OFFLINE=1 $(BIN)/python tests/scale.py

plan-table: setup  ## what `graft plan` says against five real runs: ten minutes; GRAFT_DATA must have glue and imagenet10
	HF_HUB_OFFLINE=1 $(BIN)/python tests/plan_table.py

gate-table: setup  ## how often the gate promotes equal and better candidates, counted and added up: some minutes
	$(BIN)/python tests/gate_table.py

soak: setup  ## kills a platform's training at 20 random moments and prints what came of it: half an hour
	HF_HUB_OFFLINE=1 $(BIN)/python tests/soak.py 20

bench: setup  ## Graft beside transformers' Trainer and timm, written into README.md: hours; nothing else may run meanwhile
	HF_HUB_OFFLINE=1 $(BIN)/graft bench --readme README.md

means: setup  ## what each of Graft's means of speed gains, written into README.md: an hour; nothing else may run meanwhile
	HF_HUB_OFFLINE=1 $(BIN)/graft bench --means --readme README.md

whole: setup  ## whole commands against their goals, written into README.md: an hour; nothing else may run meanwhile
	HF_HUB_OFFLINE=1 $(BIN)/graft bench --whole --readme README.md

growth: setup  ## how Graft's own time and memory grow, written into README.md: hours; nothing else may run meanwhile
	HF_HUB_OFFLINE=1 $(BIN)/graft bench --growth all --readme README.md

lock: setup  ## pin everything anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra embedded --extra team --extra dev \
		--generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
