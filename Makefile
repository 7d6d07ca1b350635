# SPDX-License-Identifier: GPL-2.0-or-later
#
# The front door: `make help` says what there is. Each target is a line or two over CMake presets and
# the scripts in .ci/, which can be called as well.
.DEFAULT_GOAL := all
MAKEFLAGS += --no-print-directory

PYTHON := /usr/bin/python3
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
# Namespaces and TAP devices need root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SOURCES = $(shell find tunnels dataplane firewall ctl tests bench -name '*.[ch]pp')

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps:  ## Install every Debian package that building, testing and linting need.
	.ci/deps all

all: build-release  ## Build the optimised programs in build/release (the default).

demo:  ## Show a switch at work in network namespaces; needs root.
	.ci/deps build demo
	$(MAKE) build-release
	$(SUDO) $(PYTHON) tests/demo/demo.py --build build/release

test:  ## Run the unit and system tests; the last line is the count. Needs root.
	.ci/deps build test
	$(MAKE) build-release
	$(SUDO) .ci/test --build build/release

interop:  ## Run Culvert against independent peers; the matrix is printed last. Needs root.
	.ci/deps build test
	$(MAKE) build-release
	$(SUDO) .ci/test --build build/release tests/interop

interop-esp:  ## Run encrypted Culvert against Linux's ESP, and IKE by strongSwan. Needs root.
	.ci/deps build test
	$(MAKE) build-release
	$(SUDO) .ci/test --build build/release tests/interop/test_esp.py tests/interop/test_esp_ike.py

bench:  ## Run the benches.
	.ci/deps build
	$(MAKE) build-release
	$(SUDO) .ci/bench --build build/release

instructions:  ## Count the instructions of each bench and compare them with the baseline.
	.ci/deps build bench
	$(MAKE) build-release
	.ci/instructions

bench-start:  ## Measure start-up, memory, idle CPU and latency after idling; needs root.
	.ci/deps build
	$(MAKE) build-release
	$(SUDO) $(PYTHON) bench/start/start_bench.py --build build/release

bench-peers:  ## Measure beside OVS-DPDK and testpmd (12 min, SMOKE=1: 1 min); needs root.
	.ci/deps build bench
	$(MAKE) build-release
	$(SUDO) bench/peers/run.py --build build/release $(if $(SMOKE),--smoke,--write)

bench-iperf:  ## Measure TCP through tunnels beside Open vSwitch and the kernel; needs root.
	.ci/deps build test
	$(MAKE) build-release
	$(SUDO) $(PYTHON) bench/iperf/iperf_bench.py --build build/release

lint:  ## Check formatting, clang-tidy, layering, headers, scripts and documentation.
	.ci/deps build lint
	$(MAKE) build-release
	.ci/lint

format:  ## Format every C++ file in place.
	.ci/deps lint
	clang-format-14 -i $(SOURCES)

debug: build-debug  ## Build for a debugger in build/debug.

asan:  ## Run the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
	.ci/deps build fuzz
	$(MAKE) build-asan
	$(SUDO) .ci/test --build build/asan --unit-only

tsan:  ## Run the tests of what threads share under ThreadSanitizer.
	.ci/deps build
	$(MAKE) build-tsan
	$(SUDO) .ci/test --build build/tsan --unit-only --label tsan

fuzz:  ## Run each fuzz target for FUZZ_SECONDS (60).
	.ci/deps build fuzz
	$(MAKE) build-asan
	.ci/fuzz $(FUZZ_SECONDS)

install: all  ## Install under PREFIX (/usr/local); DESTDIR is honoured.
	cmake --install build/release --prefix $(PREFIX)

dist:  ## Pack the sources: build/dist/culvert-VERSION.tar.gz.
	@.ci/dist

deb: all  ## Make the Debian package, build/culvert_VERSION_amd64.deb.
	cd build/release && cpack -G DEB
	rm -rf build/_CPack_Packages

clean:  ## Remove what was built.
	rm -rf build

dist-clean: clean  ## Remove everything that the repository does not hold.
	rm -rf .cache
	find . -name __pycache__ -prune -exec rm -rf {} +

build-%: build/%/build.ninja
	cmake --build --preset $*

build/%/build.ninja: CMakePresets.json
	cmake --preset $*

.PRECIOUS: build/%/build.ninja
.PHONY: help deps all demo test interop interop-esp bench instructions bench-start bench-peers bench-iperf lint format debug asan tsan fuzz install dist deb clean dist-clean

