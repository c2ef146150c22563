# hub-gateway: `make demo`, `make test`, `make bench`. Everything runs from .venv, which these targets make.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint format types imports tests chaos container-test lock apt clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: .venv/demo.stamp  ## a simulated hub, a broker and the gateway, live (ARGS="--for 30s")
	@$(BIN)/hub-gateway demo $(ARGS)

test: lint types imports tests  ## everything that must be green before a commit

bench: .venv/test.stamp apt  ## the benchmark table (ARGS="--quick", or --outage-hour, --depth, --memory)
	$(BIN)/python -m tests.bench $(ARGS)

lint: .venv/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: .venv/test.stamp  ## let ruff rewrite the tree
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: .venv/test.stamp
	$(BIN)/mypy

imports: .venv/test.stamp
	$(BIN)/lint-imports

tests: .venv/test.stamp apt
	$(BIN)/pytest -m "not chaos" -n 2 --dist loadfile $(ARGS)

chaos: .venv/test.stamp apt  ## everything goes wrong for ten minutes (CHAOS_SECONDS=120 CHAOS_SEED=7), nothing is lost
	$(BIN)/pytest -m chaos -s $(ARGS)

container-test: .venv/test.stamp apt  ## the unit under a real systemd in a container
	@sh tests/apt.sh debootstrap:debootstrap systemd-nspawn:systemd-container
	tests/container/boot.sh

lock: .venv/test.stamp  ## resolve requirements/*.txt anew
	$(BIN)/pip install --quiet uv
	cd requirements && for set in run: demo:--extra=demo "test:--extra=demo --extra=test"; do \
	  ../$(BIN)/uv pip compile ../pyproject.toml $${set#*:} --universal --python-version 3.11 --generate-hashes \
	    --upgrade --quiet --custom-compile-command "make lock" --output-file $${set%%:*}.txt; done

# What the tests need from Debian; says in one line what is missing when it may not install it.
APT := mosquitto:mosquitto mosquitto_sub:mosquitto-clients mbpoll:mbpoll chromium:chromium sqlite3:sqlite3 \
       gcc:gcc modbus:libmodbus-dev openssl:openssl systemd-analyze:systemd curl:curl \
       node:nodejs npm:npm jq:jq
apt:
	@sh tests/apt.sh $(APT)

.venv/demo.stamp: pyproject.toml requirements/demo.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

.venv/test.stamp: pyproject.toml requirements/test.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@ .venv/demo.stamp

clean:  ## remove everything that the targets made
	rm -rf .venv build ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
