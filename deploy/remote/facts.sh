# Everything that a plan needs to know of a node, in one round trip. Reads only. Arguments: CLUSTER RECIPE
# Each line of output is KEY VALUE; deploy/remote/facts.py reads them.
sys=${SGLANG_SPARK_SYSFS:-/sys}
printf 'architecture ' && uname -m
echo "home $HOME"
echo "cluster $1"

if info=$(docker info --format '{{json .}}' 2>&1); then
  echo "docker $info"
  docker image ls --digests --no-trunc --filter "label=io.sglang-spark.recipe=$2" --format 'image {{.Repository}} {{.Digest}} {{.Tag}} {{.ID}} {{.Size}}'
  ids=$(docker ps --all --quiet --no-trunc --filter "label=io.sglang-spark.cluster")
  # shellcheck disable=SC2086
  [ -z "$ids" ] || docker inspect --format 'container {"id":{{json .Id}},"name":{{json .Name}},"labels":{{json .Config.Labels}},"state":{{json .State}}}' $ids
else
  echo "docker_error ${info##*
}"
fi
command -v nvidia-container-runtime-hook nvidia-ctk nvidia-container-runtime >/dev/null 2>&1 && echo "gpu_runtime hook"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | sed 's/^/gpu /'

ports="$sys/class/infiniband/*/ports/*"
# shellcheck disable=SC2086
grep -sH . $ports/state $ports/rate $ports/gids/* $ports/gid_attrs/types/* $ports/gid_attrs/ndevs/* |
  grep -v ':0000:0000:0000:0000:0000:0000:0000:0000$' | sed "s|^$sys/class/infiniband/|rdma |"
for device in /dev/infiniband/uverbs* /dev/infiniband/rdma_cm; do [ -c "$device" ] && echo "rdma_device $device"; done

ip -o -4 addr show | while read -r _ name _ address _; do echo "interface $name ${address%/*}"; done
awk '/^MemAvailable:/ { print "memory_available " $2 }
     $4 == "0A" { n = split($2, local, ":"); print "listening " local[n] }' "${SGLANG_SPARK_MEMINFO:-/proc/meminfo}" /proc/net/tcp /proc/net/tcp6
root=${info#*'"DockerRootDir":"'} root=${root%%'"'*}
[ -d "$root" ] || root=/
df -Pk "$root" | { read -r _; read -r _ _ _ free _; echo "disk_free $free"; }
exit 0
