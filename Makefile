# Every target is a line or two; what it does stands in tools/.
PYTHON   ?= python3
MITOGEN  ?= 1
FIGURE   ?=
SCENARIO ?=
export PYTHON MITOGEN
.DEFAULT_GOAL := help
.PHONY: help setup engine image demo grow test lint unit sanity scenario bench build stop clean

help: ## this list
	@echo "ntier.django: a cluster for a Django site, grown from one box."
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo "  FIGURE=1..5     the shape of the demo; SCENARIO=one_box   test that alone"
	@echo "  PYTHON=python3  3.11 or newer;         MITOGEN=0          plain Ansible, slower"

demo: setup ## a running site on test hosts on this machine, to look at and to change
	@tools/env python tools/demo.py $(FIGURE)

grow: setup ## a site that grows from figure to figure under constant requests, and a chart of it
	@tools/env python tools/test.py scenario growth
	@tools/env python tools/growth.py

test: setup ## the checks and the short form of the scenarios; SCENARIO=one_box: that one alone
	@tools/env python tools/test.py $(if $(SCENARIO),scenario $(SCENARIO),all)

lint: setup ## ansible-lint, yamllint, ruff, mypy
	@tools/env python tools/test.py lint

unit: setup ## plugins and templates, without any host
	@tools/env python tools/test.py unit

sanity: setup ## ansible-test sanity
	@tools/env python tools/test.py sanity

scenario: setup ## one molecule scenario: SCENARIO=one_box; LONG=1: with the tests that take long
	@tools/env python tools/test.py scenario $(or $(SCENARIO),$(error SCENARIO=name is missing: $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))))

bench: setup ## measure the demo: runs, pages, static files, releases, moves of the data, more web hosts
	@tools/env python tests/bench/bench.py

build: setup ## the collection as an archive, in build/
	@tools/env ansible-galaxy collection build --force --output-path build

setup: ## the tool chain, in .venv
	@tools/setup

engine: setup ## a Docker engine for the test hosts
	@tools/env ansible-playbook --inventory localhost, molecule/shared/engine.yml

image: engine ## the image of the test hosts
	@tools/env ansible-playbook --inventory localhost, molecule/shared/image.yml

stop: ## remove the test hosts, and stop the engine if we started it
	@tools/stop

clean: ## remove all that the other targets made, test hosts included
	@tools/clean
