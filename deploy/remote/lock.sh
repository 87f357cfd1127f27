# Holds the lock of a cluster on this node for as long as its holder can be heard.
# Arguments: CLUSTER TOKEN SECONDS HOLDER [COMMAND...]; COMMAND runs as soon as the lock is held.
# Says `locked`, what COMMAND says, `command ended with CODE`, and `beat X` for each byte X that it reads.
# A refused lock: exit code 75, `by HOLDER` and `age SECONDS`.
base=$HOME/.cache/sglang-spark/$1 token=$2 patience=$3 holder=$4
shift 4
mkdir -p "${base%/*}" && exec 9>>"$base.lock" 8>>"$base.work" || exit 1
# A pulse holds it for the moment that it takes to see whether it is free.
flock -w 2 9 || {
  read -r held shell 2>/dev/null < "$base.fence"
  # A shell of our own whose connection broke: it may not have noticed yet.
  [ "$held" = "$token" ] && kill "$shell" && flock -w "$patience" 9
} || {
  sed 's/^/by /' "$base.holder" 2>/dev/null
  echo "age $(($(date +%s) - $(stat -c %Y "$base.holder" 2>/dev/null || date +%s)))"
  exit 75
}
echo "$holder" > "$base.holder"
echo "$token $$" > "$base.fence"
# From here on no command of an earlier holder begins (guard.sh); what it had begun must end first.
flock -x -w "$patience" 8 || { echo "by a command of an earlier run, which has not ended"; exit 75; }
exec 8>&-
echo locked
[ $# -eq 0 ] || { timeout 60 "$@" < /dev/null 9>&-; echo "command ended with $?"; }
# A holder whose machine froze or lost its network sends nothing, and its connection does not end by itself.
while beat=$(timeout "$patience" head -c 1 9>&-) && [ -n "$beat" ]; do echo "beat $beat"; done
rm -f "$base.holder" "$base.fence"
