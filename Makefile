# Everything there is to do here, one target each. `make` alone lists them.

PORT ?= 8501
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
DEBIAN_ROOT := [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]
APT_INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help run test check format bench screenshots clean chromium servers

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

run: $(VENV)/app.stamp ## start the app on http://localhost:8501 (PORT=... for another port)
	@$(PY) -m streamlit run app.py --server.port $(PORT)

test: chromium servers ## run every test (ARGS="-k name" for some)
	@$(PY) -m pytest $(ARGS)

check: $(VENV)/dev.stamp ## lint, format and types, changing nothing
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy --strict cache_backends lab

format: $(VENV)/dev.stamp ## format the code, and mend what the linter can mend
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

bench: servers ## measure, and print the comparison
	@$(PY) -m benchmarks

screenshots: chromium ## take every page into docs/screenshots
	@$(PY) -m tests.e2e.screenshots

clean: ## remove .venv and the tools' caches; stored answers and settings stay
	@rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is as old as the last installation: it is made again when its requirements are newer.
$(VENV)/app.stamp: requirements.txt | $(VENV)/made.stamp
	@echo "Installing what the app needs (a minute or two the first time)"
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/app.stamp
	@echo "Installing what tests and checks need"
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

$(VENV)/made.stamp:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Python 3.11 or newer is needed, and there is no $(PYTHON). Install it, or name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(DEBIAN_ROOT) && \
	  echo "Installing python3-venv" && apt-get update -qq && $(APT_INSTALL) python3-venv >/dev/null; } || { \
	  echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

chromium: $(VENV)/dev.stamp # for the browser tests: by apt where that is possible, else a sentence
	@if $(PY) -c 'from tests.e2e.conftest import find_chromium; raise SystemExit(find_chromium() is None)'; then :; \
	elif $(DEBIAN_ROOT); then \
	  echo "Installing Chromium for the browser tests"; \
	  apt-get update -qq && $(APT_INSTALL) chromium fonts-liberation >/dev/null || \
	    echo "Chromium could not be installed: install it, or set CHROMIUM to the path of one."; \
	else \
	  echo "Browser tests need Chromium: install it (Debian: sudo apt install chromium) or set CHROMIUM to its path."; \
	fi

# Debian starts a server as soon as it is installed; with a policy that says no it is only installed.
servers: $(VENV)/dev.stamp # for the tests on real servers: by apt where that is possible, else a sentence
	@missing=$$($(PY) -m tests.servers.missing) || exit 1; policy=/usr/sbin/policy-rc.d; \
	if [ -z "$$missing" ]; then :; \
	elif $(DEBIAN_ROOT); then \
	  echo "Installing $$missing for the tests on real servers"; \
	  if [ ! -e $$policy ]; then \
	    trap "rm -f $$policy" EXIT; trap 'exit 1' INT TERM; \
	    printf '#!/bin/sh\nexit 101\n' >$$policy && chmod 755 $$policy; \
	  fi; \
	  apt-get update -qq && $(APT_INSTALL) $$missing >/dev/null || \
	    echo "They could not be installed: the tests that need them are skipped, or fail where CI is set."; \
	else \
	  echo "Tests on real servers are skipped without these: $$missing. Install them (Debian: sudo apt install $$missing)."; \
	fi
