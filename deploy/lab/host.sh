#!/bin/sh
# Readies a Debian or Ubuntu machine for the lab: packages and a Docker Engine. Knows nothing of the lab's nodes.
#
#   host.sh install [--tests]   install what is missing (--tests: also what only the test suite needs)
#   host.sh start               make sure a Docker Engine answers
#   host.sh stop                stop the engine, if `start` had to start it by hand
set -eu

PID_FILE=${SGLANG_SPARK_ENGINE_PID:-/run/sglang-spark-engine.pid}
LOG_FILE=${SGLANG_SPARK_ENGINE_LOG:-/var/log/sglang-spark-engine.log}
WAIT_SECONDS=60

say() { printf 'host: %s\n' "$*" >&2; }
refuse() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }
engine_answers() { has docker && docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
systemd_runs() { [ -d /run/systemd/system ] && has systemctl; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif has sudo; then sudo "$@"
  else refuse "this needs root: run it as root, or install sudo (wanted: $*)"
  fi
}

check_engine_kind() {
  kind=$(docker info --format '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null || true)
  case $kind in
    *"Docker Desktop"*) refuse "Docker Desktop runs the engine in a machine of its own; the lab needs a Linux engine here (package docker.io)" ;;
    *rootless*) refuse "this Docker Engine is rootless and cannot hold nested engines; the lab needs one run by root (package docker.io)" ;;
  esac
}

# Prints the packages that stand for commands this machine lacks.
missing_packages() {
  has dockerd || engine_answers || {
    echo docker.io tini
    # Newer releases ship the client apart from the engine.
    if ! has docker && apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; fi
    # A kernel with AppArmor makes the engine ask for its parser.
    if grep -qs Y /sys/module/apparmor/parameters/enabled && ! has apparmor_parser; then echo apparmor; fi
  }
  has iptables || echo iptables
  has ip || echo iproute2
  has debootstrap || echo debootstrap
  has openssl || echo openssl
  has ssh-keygen || echo openssh-client
  [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
  [ "${1:-}" != --tests ] || has sshd || echo openssh-server
  [ "${1:-}" != --tests ] || has systemd-analyze || echo systemd
  [ "${1:-}" != --tests ] || missing_browser
}

# The report's test looks at it in a browser. Ubuntu has none as a package: there the test is skipped, and says so.
missing_browser() {
  for browser in chromium-headless-shell chromium chromium-browser google-chrome; do
    if has "$browser"; then return; fi
  done
  for browser in chromium-headless-shell chromium; do
    # A package that only leads to a snap does not count.
    if apt-cache policy "$browser" 2>/dev/null | grep -q 'Candidate: [1-9]' &&
      ! apt-cache show "$browser" 2>/dev/null | grep -qi snap; then echo "$browser fonts-dejavu-core"; return; fi
  done
}

install_missing() {
  has apt-get || refuse "no apt-get: the lab is made for Debian and Ubuntu"
  packages=$(missing_packages "$@" | xargs)
  if [ -z "$packages" ]; then say "nothing to install"; return; fi
  say "installing: $packages"
  as_root apt-get update -q >/dev/null
  packages=$(missing_packages "$@" | xargs)
  # shellcheck disable=SC2086  # one word a package
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages >/dev/null
  case " $packages " in
    # The tests start an sshd of their own; the machine itself need not listen.
    *" openssh-server "*) if systemd_runs; then as_root systemctl disable --now ssh.service ssh.socket 2>/dev/null || true; fi ;;
  esac
  say "installed: $packages"
}

wait_for_engine() {
  waited=0
  until engine_answers; do
    [ "$waited" -lt "$WAIT_SECONDS" ] || refuse "the Docker Engine did not answer within $WAIT_SECONDS s; its log: $1"
    sleep 1
    waited=$((waited + 1))
  done
}

# An engine that answers root alone would fail every later command of this user.
check_access() {
  [ "$(id -u)" -ne 0 ] || return 0
  if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
    refuse "a Docker Engine runs, but $(id -un) may not use it: run as root, or 'sudo adduser $(id -un) docker' and log in again"
  fi
}

start_by_hand() {
  has dockerd || refuse "no dockerd on this machine: run 'host.sh install' first"
  say "starting a Docker Engine by hand (log: $LOG_FILE)"
  # shellcheck disable=SC2016  # expanded by the inner shell
  as_root sh -c 'PATH=$PATH:/usr/sbin:/sbin; umask 022
    setsid dockerd >"$1" 2>&1 </dev/null & echo $! >"$2"' engine "$LOG_FILE" "$PID_FILE"
}

start_engine() {
  if engine_answers; then check_engine_kind; say "a Docker Engine answers"; return; fi
  check_access
  if systemd_runs && has dockerd; then
    as_root systemctl start docker
    check_access
    wait_for_engine "journalctl -u docker"
  else
    start_by_hand
    wait_for_engine "$LOG_FILE"
  fi
  check_engine_kind
  say "the Docker Engine answers"
}

stop_engine() {
  if [ ! -f "$PID_FILE" ]; then say "no engine was started by hand; nothing to stop"; return; fi
  # Stopping the engine ends every container on it, whoever started them.
  labs=$(docker ps --filter label=io.sglang-spark.lab --format '{{.Label "io.sglang-spark.lab.folder"}}' 2>/dev/null | sort -u | xargs)
  [ -z "$labs" ] || refuse "a lab still runs on this engine: 'lab down' first (in $labs)"
  pid=$(cat "$PID_FILE")
  # The file may outlive the engine, and its number may be another process by now.
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
    as_root kill "$pid"
    while [ -d "/proc/$pid" ]; do sleep 0.2; done
    say "stopped the engine started by hand"
  fi
  as_root rm -f "$PID_FILE"
}

case ${1:-} in
  install) shift; install_missing "$@" ;;
  start) start_engine ;;
  stop) stop_engine ;;
  *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
esac
