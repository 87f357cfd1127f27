# Holds the lock of a cluster on this node for as long as its holder can be heard.
# Arguments: CLUSTER TOKEN SECONDS QUIET AGAIN HOLDER [COMMAND...]; COMMAND runs as soon as the lock is held. With AGAIN
# not empty the lock is taken only if nobody else has had it since this TOKEN. A holder that was not heard for QUIET
# seconds is waited for.
# Says `locked`, what COMMAND says, `command ended with CODE`, and `beat X` for each byte X that it reads.
# A refused lock: exit code 75, `by HOLDER` and `age SECONDS`.
base=$HOME/.cache/sglang-spark/$1 token=$2 patience=$3 quiet=$4 again=$5 holder=$6
shift 6
mkdir -p "${base%/*}" && exec 9>>"$base.lock" 8>>"$base.work" || exit 1
# A pulse holds it for the moment that it takes to see whether it is free.
read -r held shell 2>/dev/null < "$base.fence"
silent=$(($(date +%s) - $(stat -c %Y "$base.heard" 2>/dev/null || echo 0)))
flock -w 2 9 || {
  # A shell of our own whose connection broke: it may not have noticed yet.
  [ "$held" = "$token" ] && kill "$shell" && flock -w "$patience" 9
} || {
  # A holder that has missed a beat is gone or cut off: then the lock is free within its patience.
  [ "$silent" -ge "$quiet" ] && [ "$silent" -le $((patience + 5)) ] && flock -w $((patience + 6 - silent)) 9
} || {
  sed 's/^/by /' "$base.holder" 2>/dev/null
  echo "age $(($(date +%s) - $(stat -c %Y "$base.holder" 2>/dev/null || date +%s)))"
  exit 75
}
[ -z "$again" ] || { read -r held _ 2>/dev/null < "$base.fence"; [ "$held" = "$token" ]; } || {
  echo "by another run in the meantime"
  exit 75
}
echo "$holder" > "$base.holder"
echo "$token $$" > "$base.fence"
# From here on no command of an earlier holder begins (guard.sh); what it had begun must end first.
flock -x -w "$patience" 8 || { echo "by a command of an earlier run, which has not ended"; exit 75; }
exec 8>&-
echo locked
touch "$base.heard"
[ $# -eq 0 ] || { timeout 60 "$@" < /dev/null 9>&-; echo "command ended with $?"; }
# A holder whose machine froze or lost its network sends nothing, and its connection does not end by itself.
while beat=$(timeout "$patience" head -c 1 9>&-) && [ -n "$beat" ]; do
  touch "$base.heard"
  echo "beat $beat"
done
# The fence stays: until there is another holder, nobody is harmed by what the last one does.
rm -f "$base.holder"
