# What the running ranks of a cluster on this node said of kernel tables and NCCL's network, and which NCCL they have mapped. Reads only.
# Argument: CLUSTER. Each line of output is KEY VALUE; deploy/remote/live.py reads them.
docker ps --quiet --no-trunc --filter "label=io.sglang-spark.cluster=$1" | while read -r id; do
  # Tables are looked up at the start: the rest of a log that may have grown for days is not read.
  docker logs "$id" 2>&1 </dev/null | head -n 50000 | grep -E -m 120 'MoE kernel config|NCCL INFO (NET/|Using network|Assigned NET)' | sed 's/^/said /'
  # The library's own text tells its version; what NCCL_VERSION or a package says need not be what is loaded.
  docker exec "$id" sh -c '
    echo nccl
    grep -hos "/[^ ]*libnccl\.so.*" /proc/[0-9]*/maps | sort -u | while read -r file gone; do
      echo "nccl $file $([ -n "$gone" ] || grep -aom1 "NCCL version [0-9][0-9.]*" "$file" | head -n 1 | sed "s/.* //;s/\.*$//")"
    done' </dev/null
done 2>/dev/null
