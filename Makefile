# Two commands do all the set-up: `make demo` and `make test`. Everything else is convenience.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo demo-quick reproduce reproduce-quick test lint types format bench bench-collect bench-crowd bench-feed bench-gpu bench-hits bench-pictures bench-storage bench-train clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/' | column -t -s ':'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, found {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "installing into .venv (about 3 minutes the first time: torch is large)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[all,dev]' 2> >(grep -v '^WARNING: Location' >&2)
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[outside]' 2> >(grep -v '^WARNING: Location' >&2)
	@touch $(STAMP)

install: $(STAMP)  ## make .venv and install everything

demo: $(STAMP)  ## the whole story on this machine: listings to trained models and a report (about 9 minutes)
	@.venv/bin/curate demo --out demo

demo-quick: $(STAMP)  ## the same story, small (about 3 minutes)
	@.venv/bin/curate demo --quick --out demo-quick

reproduce: $(STAMP)  ## the paper's study on three drawn tasks: 27 + 3 runs, a night on 2 cores; goes on after any stop
	@.venv/bin/curate demo --study --out reproduce $(REPRODUCE_ARGS)

reproduce-quick: $(STAMP)  ## the same study, one task and a few steps, to see that it runs (about 4 minutes)
	@.venv/bin/curate demo --study --quick --out reproduce-quick $(REPRODUCE_ARGS)

test: $(STAMP)  ## format, lint, types and the whole suite, with a real browser
	@tests/system-packages
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 .venv/bin/pytest -q -n 2 -m 'not slow'
	@OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 .venv/bin/pytest -q -n 2 -m slow

lint: $(STAMP)  ## ruff and mypy alone
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy

format: $(STAMP)  ## bring the code into shape
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

bench: $(STAMP)  ## the benchmarks of docs/benchmarks.md
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(PY) $$file; done

bench-pictures: $(STAMP)  ## hashing and checking pictures, near-duplicate search: beside imagehash, imagededup, FAISS, Daft
	@$(PY) -m pip install --quiet --disable-pip-version-check -e '.[bench,scale]'
	@OMP_NUM_THREADS=1 $(PY) tests/benchmarks/bench_pictures.py
	@OMP_NUM_THREADS=1 $(PY) tests/benchmarks/bench_neighbors.py --large

bench-hits: $(STAMP)  ## `curate hits create` of 10,000 HITs against a real crowd server
	@$(PY) tests/benchmarks/bench_hits.py

bench-collect: $(STAMP)  ## `curate hits collect` of 10,000 HITs from a real server: time, memory, calls
	@$(PY) tests/benchmarks/bench_collect.py

bench-crowd: $(STAMP)  ## 300 people at once on the crowd server, SQLite and PostgreSQL (about 4 minutes)
	@$(PY) tests/benchmarks/bench_crowd.py

bench-storage: $(STAMP)  ## originals in S3: requests a picture, and seconds with 30 ms a request (about a minute)
	@$(PY) tests/benchmarks/bench_storage.py

bench-train: $(STAMP)  ## a semi-supervised step beside the forwards and backwards in it: transformer and convolutions
	@OMP_NUM_THREADS=1 $(PY) tests/benchmarks/bench_train.py
	@OMP_NUM_THREADS=1 $(PY) tests/benchmarks/bench_train.py resnet18 64

bench-feed: $(STAMP)  ## pictures a CPU second that reach a training step, beside timm's loader (about 3 minutes)
	@OMP_NUM_THREADS=1 $(PY) tests/benchmarks/bench_feed.py

bench-gpu: $(STAMP)  ## training on an NVIDIA GPU: rates, feeding from a pack, memory, where the time goes (about 15 minutes)
	@$(PY) tests/benchmarks/bench_gpu.py

clean:  ## remove the environment and everything the demos made
	rm -rf .venv demo demo-quick reproduce-quick
