# Everything that a plan needs to know of a node, in one round trip. Reads only. Arguments: CLUSTER RECIPE
# Each line of output is KEY VALUE; deploy/remote/facts.py reads them.
sys=${SGLANG_SPARK_SYSFS:-/sys}
echo "architecture $(uname -m)"
echo "home $HOME"

if info=$(docker info --format '{{json .}}' 2>&1); then
  echo "docker $info"
  docker image ls --digests --filter "label=io.sglang-spark.recipe=$2" --format 'image {{.Repository}} {{.Digest}}'
  ids=$(docker ps --all --quiet --no-trunc --filter "label=io.sglang-spark.cluster=$1")
  # shellcheck disable=SC2086
  [ -z "$ids" ] || docker inspect --format 'container {"name":{{json .Name}},"labels":{{json .Config.Labels}},"state":{{json .State}}}' $ids
else
  echo "docker_error $(printf %s "$info" | tail -n 1)"
fi
command -v nvidia-container-runtime-hook nvidia-ctk nvidia-container-runtime >/dev/null 2>&1 && echo "gpu_runtime hook"
nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | sed 's/^/gpu /'

for port in "$sys"/class/infiniband/*/ports/*; do
  [ -r "$port/state" ] || continue
  device=${port%/ports/*}
  read -r state < "$port/state"
  echo "rdma ${device##*/} ${port##*/} ${state##* }"
  for gid in "$port"/gids/*; do
    index=${gid##*/}
    { read -r value < "$gid" && read -r kind < "$port/gid_attrs/types/$index" && read -r netdev < "$port/gid_attrs/ndevs/$index"; } 2>/dev/null || continue
    echo "gid ${device##*/} ${port##*/} $index $netdev $value $kind"
  done
done
for device in /dev/infiniband/uverbs* /dev/infiniband/rdma_cm; do [ -c "$device" ] && echo "rdma_device $device"; done

ip -o -4 addr show | while read -r _ name _ address _; do echo "interface $name ${address%/*}"; done
while read -r key value _; do [ "$key" = MemAvailable: ] && echo "memory_available $value"; done < /proc/meminfo
df -Pk / | { read -r _; read -r _ _ _ free _; echo "disk_free $free"; }
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r _ local _ state _; do [ "$state" = 0A ] && echo "listening ${local##*:}"; done
exit 0
