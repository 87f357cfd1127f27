# How far the start of the ranks of a cluster on this node is, their last batch, and the power of the GPUs. Reads only.
# Argument: CLUSTER. Each line of output is KEY VALUE; deploy/remote/look.py reads them.
for id in $(timeout 5 docker ps --all --quiet --no-trunc --filter "label=io.sglang-spark.cluster=$1"); do
  # A log may have grown for days: the start is at its begin, the last batch at its end.
  timeout 5 docker logs --timestamps "$id" 2>&1 | head -n 50000 |
    grep -aE 'Init torch distributed ends|Load weight begin|checkpoint shards|(cuda|CUDA) graph begin|fired up and ready|Dummy health check server' |
    tail -n 200 | sed 's/^/start /'
  timeout 5 docker logs --timestamps --tail 2000 "$id" 2>&1 | grep -aE '(Decode|Prefill) batch' | tail -n 1 | sed 's/^/batch /'
done </dev/null 2>/dev/null
timeout 3 nvidia-smi --query-gpu=power.draw --format=csv,noheader,nounits 2>/dev/null </dev/null | sed 's/^/watts /'
