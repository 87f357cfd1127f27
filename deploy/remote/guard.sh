# Runs a command only while its sender holds the lock of the cluster on this node. Arguments: CLUSTER TOKEN COMMAND...
# Whoever comes next, an undoing over a new connection too, waits for `.work`, which a command keeps until it has ended.
base=$HOME/.cache/sglang-spark/$1 token=$2
shift 2
exec 8>>"$base.work" || exit 1
flock -x -w 60 8 && read -r held _ 2>/dev/null < "$base.fence" && [ "$held" = "$token" ] || {
  echo "not run: the lock on this node is no longer held by this run" >&2
  exit 75
}
exec "$@"
