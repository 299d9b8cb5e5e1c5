# make demo, make test: each makes .venv on its first run and installs nothing on the next.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV = $$(command -v uv || echo $(BIN)/uv)
WORKERS ?= 2
SOURCES := $(shell find mmdet/ops/csrc -type f)
# Else every process that a test or a training starts compiles PyTorch's modules anew, for 3 seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test mypy pytest install release
.DEFAULT_GOAL := help

help:
	@echo 'make demo      train Mask R-CNN on generated images, on this CPU, and draw what it finds'
	@echo 'make test      lint, types and tests, in two processes (WORKERS=2)'
	@echo 'make install   make .venv only'
	@echo 'make release   build sdist and wheel into dist/, try the wheel on Python 3.10 and 3.14 (PYTHONS) and'
	@echo '               PyTorch 2.10 and the newest (TORCHES)'
	@echo 'PYTHON=python3.12 picks the interpreter (3.10 to 3.14) of a new .venv; UV_TORCH_BACKEND=cpu a smaller PyTorch'

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/ruff check
	$(MAKE) -j2 mypy pytest  # the types are checked while a test waits

mypy:
	$(BIN)/mypy

pytest:
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

release: install
	PYTHONS='$(PYTHONS)' TORCHES='$(TORCHES)' tools/release.sh

install: $(VENV)/extension.stamp

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo '$(PYTHON) is not Python 3.10 to 3.14: make PYTHON=python3.12'; exit 1; }
	if command -v uv > /dev/null; then uv venv -q --seed --clear --python "$$(command -v $(PYTHON))" $(VENV); \
	else $(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q uv; fi
	touch $@

$(VENV)/requirements.stamp: $(VENV)/python.stamp requirements.txt
	$(UV) pip install --python $(BIN)/python -r requirements.txt
	touch $@

$(VENV)/extension.stamp: $(VENV)/requirements.stamp setup.py pyproject.toml $(SOURCES)
	$(UV) pip install --python $(BIN)/python --no-build-isolation --reinstall-package mmdet-norms \
		-e '.[clients,coco,dev,docs,export,tensorboard,timm]'
	touch $@
