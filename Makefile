# The two commands are `make demo` and `make test`; both do their own set-up.
PYTHON ?= python3
RUN = .venv/bin/python build-and-deploy.py

.PHONY: demo test unit check environment host clean

demo: environment host
	@sh deploy/lab/demo.sh; code=$$?; sh deploy/lab/host.sh stop; exit $$code

test: environment
	@sh deploy/lab/host.sh install --tests
	@sh deploy/lab/host.sh start
	@$(MAKE) --no-print-directory check && .venv/bin/python -m pytest -n 3; code=$$?; sh deploy/lab/host.sh stop; exit $$code

check:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(RUN) render --check

unit: environment
	.venv/bin/python -m pytest tests/unit tests/cli

host:
	@sh deploy/lab/host.sh install
	@sh deploy/lab/host.sh start

# The lock file is the whole truth of the environment; its stamp saves the second run from asking.
environment: .venv/.locked

.venv/.locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: PYTHON=python3.12 make ..."; exit 2; }
	@$(PYTHON) -m venv .venv 2>/dev/null || { sh deploy/lab/host.sh install && $(PYTHON) -m venv .venv; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
