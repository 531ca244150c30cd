# tox does the work; this gets tox. `make help` lists what there is.
PYTHON ?= python3
TOX = .venv/bin/tox run -qq -e

.PHONY: help demo walk test faults full
help:
	@echo 'make demo                      an example shop and a local stand-in for Meta, until Ctrl-C'
	@echo 'make demo EXAMPLE_PORT=8080    on another port; EXAMPLE_SANDBOX_PORT for the stand-in'
	@echo 'make walk                      a browser walks through the shop, and the counts are checked'
	@echo 'make walk ARGS="--headed"      with a window to watch; ARGS=--help lists what else there is'
	@echo 'make test                      every test suite that can run on this machine'
	@echo 'make test SUITES="lint unit"   only some of them; SUITES=--help lists them'
	@echo 'make faults                    processes killed, databases restarted: what holds then; ARGS=--help'
	@echo 'make full                      the same with what takes hours'

# In the environment, but not under tox: it would comment on Ctrl-C.
demo walk: .venv/bin/tox
	@test -d .tox/demo || echo 'Preparing .tox/demo: about a minute, once.'
	@$(TOX) demo --notest
	@env -u DJANGO_SETTINGS_MODULE .tox/demo/bin/python example_site/$@.py $(ARGS)

test: .venv/bin/tox
	@test -d .tox/test || echo 'Preparing .tox/test: about a minute, once.'
	@$(TOX) test -- $(SUITES)

faults: .venv/bin/tox
	@$(TOX) faults -- --selection all $(ARGS)

full: .venv/bin/tox
	@$(TOX) faults -- --long $(ARGS)

.venv/bin/tox:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed; name it: make PYTHON=python3.13 ...'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo 'The module venv is missing: apt-get install python3-venv'; exit 1; }
	@echo 'Preparing .venv, which holds tox.'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.25'
