# `make run` and `make test` set everything up first: what is missing they install, or they say what to do.
.DEFAULT_GOAL := help
.PHONY: help run setup test test-system test-system-quick test-train test-train-quick test-eye test-brokers test-ha wheels lint format docs lock clean

ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= $(shell expr $$(nproc) + 1)# many tests wait for processes
export PYTHON DEBIAN

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## run the car on this machine (make run ARGS="--source camera:0")
	@sh tools/setup.sh
	@.venv/bin/smartcar up $(ARGS)

setup: ## install what running and testing need
	@sh tools/setup.sh
	@sh tools/setup.sh test

test: ## lint, check types and run all tests (make test PYTEST_ARGS=tests/messages)
	@sh tools/setup.sh test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-system: ## install, boot, kill and remove the car in a container with real systemd (needs root; make test-system DEBIAN=trixie)
	@sh tools/setup.sh system
	@.venv/bin/python -m pytest -m system tests/system $(PYTEST_ARGS)

test-system-quick: ## the part of it that CI runs
	@sh tools/setup.sh system
	@.venv/bin/python -m pytest -m "system and quick" tests/system $(PYTEST_ARGS)

wheels: ## Python packages for a car without network, in wheels/ (make wheels PYTHON_VERSION=3.13)
	@sh tools/setup.sh
	@PIP_PYTHON=.venv/bin/python sh tools/install/wheels.sh wheels $(PYTHON_VERSION) $(MACHINE)

test-train-quick: ## the part of test-train that CI runs
	@$(MAKE) test-train PYTEST_ARGS="tests/tools/train/test_notebook.py tests/tools/train/test_fit.py"

test-train: ## run the tests that need TensorFlow, in .venv-train (about 2 GB)
	@sh tools/setup.sh train
	@.venv-train/bin/python -m pytest $(or $(PYTEST_ARGS),tests/tools/train tests/models/importing/test_keras_oracle.py tests/models/importing/test_tensorflow_oracle.py)

test-eye: ## run the tests that need PyTorch, in .venv-eye (about 2 GB)
	@sh tools/setup.sh eye
	@.venv-eye/bin/python -m pytest $(or $(PYTEST_ARGS),$(wildcard tests/tools/train/test_eye*.py))

test-brokers: ## run the cars on brokers of others: RabbitMQ, aedes, amqtt (.venv-brokers)
	@sh tools/setup.sh brokers
	@.venv/bin/python -m pytest -m brokers tests/brokers $(PYTEST_ARGS)

test-ha: ## show the car to a real Home Assistant, the oldest supported and the newest (.venv-ha…, about 1 GB each)
	@sh tools/setup.sh ha
	@.venv/bin/python -m pytest -m homeassistant tests/homeassistant $(PYTEST_ARGS)

lint: ## check style and types
	@sh tools/setup.sh test
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy .

format: ## put the source in shape
	@sh tools/setup.sh test
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

docs: ## write docs/mqtt.md and docs/asyncapi.json anew, from the tables
	@sh tools/setup.sh test
	@.venv/bin/smartcar topics --markdown >docs/mqtt.md.new && mv docs/mqtt.md.new docs/mqtt.md
	@.venv/bin/smartcar topics --asyncapi >docs/asyncapi.json.new && mv docs/asyncapi.json.new docs/asyncapi.json

lock: ## renew requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@sed '/^#/!d' requirements.lock >requirements.lock.new
	@uv pip compile -q pyproject.toml --extra test --extra train --universal --fork-strategy fewest \
		--python-version 3.11 --only-binary :all: --no-annotate --no-header | sort -f >>requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## remove what was set up and what tools cached
	rm -rf .venv .venv-train .venv-eye .venv-brokers .venv-ha .venv-ha-oldest build smartcar.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
