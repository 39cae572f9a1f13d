# Two commands do everything, set-up included: `make reproduce` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
# The user's own environment must not leak into the one made here. And compiled modules are kept: the tests start many processes.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.PHONY: reproduce test pytest lint notebook thorough bench mutants conformance chaos fuzz grid interventions forecast docs clean

reproduce: $(VENV)/.fullscale
	$(BIN)/undertow reproduce --out $(OUT)

# Side by side: the type checker keeps one core busy, and not all of the time.
test: $(VENV)/.test
	$(MAKE) --no-print-directory --jobs 2 lint pytest

pytest: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebook: $(VENV)/.notebook
	$(BIN)/jupyter lab docs/notebooks

# All cases of the grids of which `make test` takes a part: a quarter of an hour.
thorough: $(VENV)/.test
	$(BIN)/python -m pytest --thorough --numprocesses auto --dist loadfile

bench: $(VENV)/.test
	$(BIN)/python -m bench

# Every small mistake in every rule and coupling, against the other libraries' trajectories: seconds to a minute.
mutants: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m mutants

# The torch optimizer held to torch's: drawn groups, dtypes, loads and schedulers by the thousand, and what torch's suite asks: minutes.
conformance: $(VENV)/.test
	$(BIN)/python -m pytest tests/conformance --hypothesis-profile fuzz --numprocesses auto

# 200 random SIGKILLs of drivers and workers, and whether a row, a process or a file is amiss then: about ten minutes.
chaos: $(VENV)/.test
	$(BIN)/python tests/evidence/chaos.py --kills 200 --keep docs/chaos.json

# Bad inputs for every command, file format and public function, and whether one is neither refused nor answered rightly; then 2,000
# random networks without their dead units, and whether one of them computes anything else.
fuzz: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m fuzz --count 3000 --keep docs/fuzz.json
	$(BIN)/python -m pytest tests/fullscale/test_prune_random.py --hypothesis-profile fuzz -n0

# The learning rates of the CNN study, their runs at equal sum of learning rates, and the runs watched filter by filter: the rows
# that come with the package, run again.
grid: $(VENV)/.test
	for study in digits-lr digits-long digits-watched; do \
		$(BIN)/undertow study $$study --out $(OUT) && $(BIN)/python -m docs.keep $$study --out $(OUT) || exit; \
	done

# The randomised trial inside of networks: what is missing of the rows that come with the package, about an hour on one core. With
# DATA=PLACE that of CIFAR-10 too.
interventions: $(VENV)/.test
	$(BIN)/python -m docs.interventions $(if $(DATA),--data "$(DATA)")

# The runs that the forecast of filter deaths was made on and tested on, and those whose strength it turns: the rows that come with the
# package, run again, about an hour on two cores. With DATA=PLACE those on CIFAR-10 too.
forecast: $(VENV)/.test
	for study in forecast-design forecast-test $(if $(DATA),forecast-design-cifar forecast-test-cifar forecast-test-vgg); do \
		$(BIN)/undertow study $$study --out $(OUT) $(if $(DATA),$$(case $$study in *-cifar|*-vgg) echo --data "$(DATA)";; esac)) || exit; \
	done
	$(BIN)/python -m docs.forecast --dial --out $(OUT)

# The numbers of README.md and docs/*.md, from the store in $(OUT); also docs/findings.json, from which the tests compare them.
docs: reproduce
	$(BIN)/python -m docs --out $(OUT)

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python {sys.version.split()[0]}: 3.11 or newer is needed, try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# A stamp for each set of extras: the next `make` installs again only if what is asked for has changed. Of tens of thousands of
# modules those that are used are compiled when they are: compiling all took as long as installing them.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[$*]'
	touch $@
