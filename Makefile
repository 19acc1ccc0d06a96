# Makefile - the human door. Everything is built under build/; CMake and Ninja do the work.
PYTHON     := $(firstword $(wildcard /usr/bin/python3) python3)
PREFIX     ?= /usr/local
SEEDS      ?= 2000
SEED_START ?= 1
TIME       ?= 60
ONLY       ?=
BENCH      ?=
AGAINST    ?= nebula
ARGS       ?=
VENV       := build/venv
PIP        := $(VENV)/bin/pip --disable-pip-version-check -q
NEBULA_PY   = $(shell find CMakeLists.txt core capi proto bindings/python -not -name '*.pyc' -not -path '*/tests/*' -not -name __pycache__ 2>/dev/null)

CMAKE_release := -DCMAKE_BUILD_TYPE=RelWithDebInfo
CMAKE_asan    := -DCMAKE_BUILD_TYPE=Debug -DNEBULA_SANITIZE=address,undefined
CMAKE_fuzz    := -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNEBULA_SANITIZE=fuzzer-no-link,address,undefined \
                 -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
CMAKE_tsan    := -DCMAKE_BUILD_TYPE=RelWithDebInfo -DNEBULA_SANITIZE=thread

# The binding compiles the engine once more, with the same flags in another folder: for ccache that is the same, as long
# as the compiler has the same name. Python would take another one.
export CCACHE_NOHASHDIR := 1
export CC := $(if $(filter default,$(origin CC)),cc,$(CC))
export CXX := $(if $(filter default,$(origin CXX)),c++,$(CXX))

.PHONY: help setup demo build test pictures bench bench-docs bench-languages bench-peers counts sim attack interop matrix endurance \
  faults faults-peers planted fuzz install packages clean examples asan tsan clang fuzzers python \
  python-asan go java node node-asan
.DELETE_ON_ERROR:

help: ## what can be done here
	@echo 'make <target>:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the system packages that are missing (apt, with sudo where not root)
	@scripts/setup.sh

demo: examples python ## services in six languages call each other by name: watch it
	@$(VENV)/bin/python scripts/demo.py

build: build/release/build.ninja ## the engine, the examples, the benchmarks, the simulation
	@cmake --build build/release

test: setup ## every test there is; ONLY="layers docs unit capi cpp tsan sim attack memory counts fuzz exports python go java node interop matrix packages" for some
	@$(PYTHON) tests/run.py $(ONLY)

bench: build python ## the benchmarks; BENCH=memory for one of them, BENCH=unary for cases of speed, ARGS=--quick or --goals; figures in build/bench
	@$(PYTHON) tests/bench/run.py $(ARGS) $(BENCH)

bench-languages: go java node python ## Nebula against each language's own gRPC library; ARGS="--rounds 3 go"; figures in build/bench/languages.json
	@$(PYTHON) tests/bench/languages/run.py $(ARGS)

bench-docs: ## what `make bench` has measured, rendered into docs/performance.md
	@$(PYTHON) tests/bench/speed_docs.py $(ARGS)

bench-peers: setup ## what `make bench` compares with: gRPC C++, grpc-go, connect-go, rpcx, tonic; h2load
	@scripts/setup.sh peers
	@cmake -S . -B build/release -G Ninja $(CMAKE_release) >/dev/null
	@cmake --build build/release --target bench_grpc_peer
	@$(PYTHON) tests/bench/speed/peers.py

pictures: build/release/build.ninja ## the pictures of docs/policies.md, drawn anew from runs in virtual time
	@cmake --build build/release --target pictures
	@mkdir -p docs/policies
	@build/release/tests/pictures > docs/policies/runs.json
	@$(PYTHON) tests/pictures/draw.py

counts: build/release/build.ninja ## instructions and system calls of a request, as a gate; ARGS=--annotate, ARGS=--accept
	@cmake --build build/release --target bench_nebula_peer
	@$(PYTHON) tests/bench/counts.py $(ARGS)

sim: build/release/build.ninja ## the simulation; SEEDS=2000 SEED_START=1
	@cmake --build build/release --target sim
	@build/release/tests/sim $(SEEDS) $(SEED_START)

attack: build/release/build.ninja ## attack a server with all that is known; AGAINST=nghttpd to compare
	@cmake --build build/release --target attack_server
	@$(PYTHON) tests/attack/attack.py --against $(AGAINST) $(ARGS)

faults: faults-programs ## real processes in network namespaces, killed, stopped, cut off; ARGS="--rows 1,2 --rate 500 --docs"
	@scripts/setup.sh faults
	@$(PYTHON) tests/faults/faults.py $(ARGS)

faults-peers: faults-programs ## some of that with Nebula, grpc-go and rpcx side by side; ARGS=--docs
	@scripts/setup.sh faults
	@cd tests/faults/peers && go build -o $(CURDIR)/build/faults/faults_peers .
	@$(PYTHON) tests/faults/faults.py --peers $(ARGS)

fuzz: setup ## all fuzzers, each for TIME=60 seconds; what they find lies in build/fuzz/found
	@$(MAKE) --no-print-directory fuzzers
	@$(PYTHON) tests/fuzz/run.py --seconds $(TIME)

interop: build/release/build.ninja python ## gRPC's interop cases against grpc-go, both ways, plain and TLS; grpcurl, buf curl
	@cmake --build build/release --target interop_server interop_client
	@$(PYTHON) tests/interop/go/matrix.py
	@$(VENV)/bin/python tests/interop/go/keepalive.py

matrix: matrix-programs ## the same cases in every language, against a server in every language; ARGS="--clients c --verbose"
	@$(PYTHON) tests/bindings/matrix.py $(ARGS)

endurance: matrix-programs ## very many calls of each language, after which nothing may be left; ARGS="--languages go --calls 1000000"
	@$(PYTHON) tests/bindings/endurance.py $(ARGS)

planted: setup ## plant each bug of tests/*/planted and see that the tests find it
	@$(PYTHON) scripts/planted.py

install: build/release/build.ninja ## install library, headers, what pkg-config and CMake read; PREFIX=/usr/local
	@cmake --build build/release --target nebula
	@cmake --install build/release --prefix $(PREFIX)

packages: $(VENV)/.tools ## what is installed without this checkout: for C and C++, Python, Node, Java and Go, into build/packages
	@$(VENV)/bin/python scripts/packages.py

clean: ## remove all that was built
	rm -rf build bindings/node/build

# ---- parts of the above ----
build/%/build.ninja: | setup
	@cmake -S . -B build/$* -G Ninja $(CMAKE_$*)

examples: build/release/build.ninja
	@cmake --build build/release --target nebula examples

build/fuzz/build.ninja: | clang
clang: setup
	@scripts/setup.sh fuzz
fuzzers: build/fuzz/build.ninja
	@cmake --build build/fuzz --target fuzzers

asan tsan: %: build/%/build.ninja
	@cmake --build build/$*

# The Python package, with the engine inside: `pip install ./bindings/python`, with the tools for it fetched only once.
python: $(VENV)/.nebula ## the Python package, into build/venv
$(VENV)/.tools: scripts/requirements.txt | setup
	@echo "python: tools into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -r $<
	@touch $@
$(VENV)/.nebula: $(VENV)/.tools $(NEBULA_PY)
	@echo "python: bindings/python into $(VENV)"
	@$(PIP) install --no-build-isolation --no-deps --force-reinstall ./bindings/python
	@touch $@

# What the Go package is built against: the engine, installed into a prefix of its own.
go: build/release/build.ninja ## the engine for bindings/go, into build/go/prefix; scripts/go.sh runs go with it
	@cmake --build build/release --target nebula
	@cmake --install build/release --prefix build/go/prefix >/dev/null

# The Java package, with its JNI library inside. Maven fetches what it needs once, into ~/.m2.
java: build/release/build.ninja ## the Java package, into build/java/target; scripts/java.sh runs java with it
	@cmake --build build/release --target nebula
	@cmake --install build/release --prefix build/java/prefix >/dev/null
	@PKG_CONFIG_PATH=$(CURDIR)/build/java/prefix/lib/pkgconfig mvn -q -B -f bindings/java package -Dmaven.test.skip=true

# What the Node package is built against, and the packages of its tests. The addon lies beside its sources, as for npm.
node: build/release/build.ninja build/node/.packages ## the addon of bindings/node; scripts/node.sh runs node with it
	@cmake --build build/release --target nebula
	@cmake --install build/release --prefix build/node/prefix >/dev/null
	@PKG_CONFIG_PATH=$(CURDIR)/build/node/prefix/lib/pkgconfig bindings/node/build.sh
build/node/.packages: bindings/node/test/package-lock.json | setup
	@echo "node: packages of the tests into build/node"
	@mkdir -p $(@D)
	@cp bindings/node/test/package.json bindings/node/test/package-lock.json $(@D)
	@cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
	@ln -sfn ../../../bindings/node $(@D)/node_modules/nebula
	@ln -sfn ../../bindings/node/test $(@D)/test
	@touch $@

# The same under the sanitizers, a package of its own. With a shared engine ASan cannot be had: loader.cc says why there
# it takes RTLD_DEEPBIND, which ASan refuses. So the engine goes inside as in a package, with all that it needs.
NODE_ASAN := build/node-asan
node-asan: build/node/.packages
	@$(PYTHON) scripts/bundled.py build/packages/work/bundled
	@PKG_CONFIG_PATH=$(CURDIR)/build/packages/work/bundled/lib/pkgconfig cmake -S . -B build/bundled-asan -G Ninja \
	  $(CMAKE_asan) -DNEBULA_BUNDLED=ON -DNEBULA_TESTS=OFF -DNEBULA_EXAMPLES=OFF -DCMAKE_INSTALL_LIBDIR=lib
	@cmake --build build/bundled-asan --target nebula nebula_static
	@mkdir -p $(NODE_ASAN)/node_modules
	@ln -sfn .. $(NODE_ASAN)/node_modules/nebula
	@cp -r $(addprefix bindings/node/,build.sh install.js lib package.json src test) $(NODE_ASAN)
	@cmake --install build/bundled-asan --prefix $(NODE_ASAN)/prefix >/dev/null
	@rm $(NODE_ASAN)/prefix/lib/*.so*
	@CXX='c++ -g -fsanitize=address,undefined -fno-sanitize-recover=all' \
	  PKG_CONFIG_PATH=$(CURDIR)/$(NODE_ASAN)/prefix/lib/pkgconfig $(NODE_ASAN)/build.sh

# The programs of `make matrix`, one for each language.
.PHONY: matrix-programs
matrix-programs: build/release/build.ninja python go java node
	@cmake --build build/release --target conformance_c conformance_cpp
	@scripts/go.sh tests/bindings/go build -o $(CURDIR)/build/matrix/conformance_go .
	@tests/bindings/java/build.sh

# The programs of `make faults`.
.PHONY: faults-programs
faults-programs: build/release/build.ninja python go
	@cmake --build build/release --target faults_load faults_serve
	@scripts/go.sh tests/faults/go build -o $(CURDIR)/build/faults/faults_go .

# The same under the sanitizers, into a folder for PYTHONPATH; tests/run.py says how it is run.
python-asan: $(VENV)/.nebula
	@cmake -S bindings/python -B build/python-asan -G Ninja $(CMAKE_asan) -DPython_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python \
	  -Dpybind11_DIR=$$($(VENV)/bin/python -m pybind11 --cmakedir)
	@cmake --build build/python-asan
	@cmake --install build/python-asan --prefix build/python-asan/site-packages
	@cp bindings/python/nebula/*.py build/python-asan/site-packages/nebula/
