#!/bin/sh
# scripts/setup.sh - the system's packages that Nebula is built with; made for Debian 12.
#
# usage: scripts/setup.sh          what `make build`, `make test` and `make demo` need
#        scripts/setup.sh checks   what a developer's checks need: clang-format, clang-tidy
#        scripts/setup.sh faults   what `make faults` needs: namespaces and what cuts them apart
#        scripts/setup.sh peers    what benchmarks are compared with: gRPC C++, h2load
#
# Says what it is about to install, and is silent and quick when all is there. Touches nothing outside apt.
set -eu

# nghttp2, libuv and OpenSSL do the protocol, the I/O and TLS, zlib and zstd compression, simdjson reads JSON, protobuf-c
# our own messages, Criterion the tests in C and C++, protobuf those whose messages are C++ users'; Python 3 with venv is
# for the binding, the demo and the test runner, nghttpd for `make attack` to be compared with, etcd and dnsmasq for the
# registries to be tested against, abidiff for the gate of the ABI, valgrind for that of the counts.
packages='build-essential cmake ninja-build pkg-config ccache git
  libnghttp2-dev libuv1-dev libssl-dev openssl zlib1g-dev libzstd-dev libsimdjson-dev libprotobuf-c-dev protobuf-c-compiler
  libcriterion-dev libprotobuf-dev protobuf-compiler python3 python3-venv python3-dev nghttp2-server etcd-server
  dnsmasq-base abigail-tools valgrind'
case "${1:-}" in
  '') ;;
  checks) packages='clang-format clang-tidy' ;;
  fuzz) packages='clang libclang-rt-14-dev' ;;
  faults) packages='iproute2 nftables etcd-server dnsmasq-base' ;;
  peers) packages='libgrpc++-dev protobuf-compiler-grpc nghttp2-client' ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# Go, unless there is one. Debian's is enough for bindings/go; gRPC as a peer of its tests wants one from 1.21 on.
[ -n "${1:-}" ] || command -v go >/dev/null || packages="$packages golang-go"
# A JDK and Maven for bindings/java, the same way. 17 is the oldest that will do.
[ -n "${1:-}" ] || command -v javac >/dev/null || packages="$packages openjdk-17-jdk-headless"
[ -n "${1:-}" ] || command -v mvn >/dev/null || packages="$packages maven"

# Node, unless there is one that has its headers, which nodejs.org's and NodeSource's have.
if [ -z "${1:-}" ]; then
  node=$(command -v node || true)
  [ -n "$node" ] && [ -f "${node%/bin/node}/include/node/node_api.h" ] && command -v npm >/dev/null ||
    packages="$packages nodejs npm libnode-dev"
fi

fail() { echo "setup: $*" >&2; exit 1; }
list() { echo $*; }  # on one line

# Another system than Debian: nothing can be installed, but what is there may do.
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  for tool in c++ cmake ninja pkg-config protoc protoc-c python3; do
    command -v "$tool" >/dev/null || fail "this system has no apt, and no $tool: install by hand what Debian calls $(list $packages)"
  done
  for module in libnghttp2 libuv openssl zlib libzstd simdjson libprotobuf-c protobuf criterion; do
    pkg-config --exists "$module" || fail "this system has no apt, and no $module: install by hand what Debian calls $(list $packages)"
  done
  exit 0
fi

missing=
for package in $packages; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "packages are missing and there is no sudo; as root, run: apt-get install$missing"
  as_root=sudo
fi
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"

echo "setup: installing with apt${as_root:+ (through sudo)}:$missing"
# Old lists may still do, so a failure here is not the end.
$apt update >/dev/null || echo "setup: apt-get update failed; going on with the lists that are there" >&2
$apt install -y --no-install-recommends $missing >/dev/null ||
  fail "apt-get could not install:$missing (its words are above)"
echo "setup: done"
