# Says every second how the ranks of a cluster on this node are, until its input ends. Reads only.
# Arguments: CLUSTER SECONDS [WATCHER]; with 0 seconds it is said once, with who watches this node, and what follows in
# the same script goes on. Who watches says so by a lock that ends with this shell.
# Lines of KEY VALUE, as of facts.sh, closed by `pulse`; deploy/remote/pulse.py reads them.
# The containers of a cluster, or docker_error. Fails where one could not be looked at: it may have gone since it was
# listed, so that a second look has another list.
ranks() {
  # An engine that hangs must not keep the pulse.
  ids=$(timeout 5 docker ps --all --quiet --no-trunc --filter "label=io.sglang-spark.cluster=$1" 2>&1) || {
    # What cannot be looked at is not known to be absent.
    echo "docker_error ${ids:-no answer in 5 s}" | tail -n 1
    return 0
  }
  [ -n "$ids" ] || return 0
  # shellcheck disable=SC2086
  found=$(timeout 5 docker inspect --format 'container {"name":{{json .Name}},"labels":{{json .Config.Labels}},"state":{{json .State}}}' $ids 2>/dev/null)
  case $? in
    0) echo "$found" ;;
    124) echo 'docker_error no answer in 5 s' ;;
    *) return 1 ;;
  esac
}
beat() {
  awk '/^MemAvailable:/ { print "memory_available " $2 }' "${SGLANG_SPARK_MEMINFO:-/proc/meminfo}"
  lock=$HOME/.cache/sglang-spark/$1
  # A lock that can be had is held by nobody, whatever its holder's file says.
  flock -n "$lock.lock" true 2>/dev/null || sed 's/^/holder /' "$lock.holder" 2>/dev/null
  ranks "$1" || ranks "$1" || echo 'docker_error a container could not be inspected'
  # Last, so that no slow answer of Docker's lies between it and its arrival.
  date '+clock %s.%N'
  echo pulse
}
watch=$HOME/.cache/sglang-spark/$1.watch
if [ "$2" = 0 ]; then
  # Another who looks holds it for a moment; a watch as long as it lives.
  flock -w 0.2 "$watch" true 2>/dev/null || sed 's/^/watcher /' "$watch.by" 2>/dev/null
  beat "$1"
else
  if [ -n "$3" ] && mkdir -p "${watch%/*}" && touch "$watch"; then
    exec 7>>"$watch"
    flock -s -w 2 7 && echo "$3" > "$watch.by"
  fi
  while beat "$1"; do sleep "$2"; done 7>&- &
  beating=$!
  cat > /dev/null
  kill "$beating"
fi
