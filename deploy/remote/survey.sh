# What `doctor` wants to know of a node beyond its facts. Stands before facts.sh, whose arguments it shares. Reads only.
# Arguments: CLUSTER RECIPE FABRIC MODEL REVISION PEER... Lines of KEY VALUE; deploy/remote/survey.py reads them.
date '+clock %s.%N'
echo "ssh $SSH_CONNECTION"
ip -4 route show default | sed -n 's/.* dev \([^ ]*\).*/default_route \1/p' | head -n 1
ip -o link show | awk '{ sub("[@:].*", "", $2); for (i = 3; i < NF; i++) if ($i == "mtu") print "mtu " $2 " " $(i + 1) }'

# A frame as large as the interface sends, which nobody may cut; one lost answer is no cut cable.
frame() {
  if said=$(ping -n -q -M do -c 1 -W 1 -s "$2" -I "$3" "$1" 2>&1 || ping -n -q -M do -c 1 -W 1 -s "$2" -I "$3" "$1" 2>&1); then
    echo "reach $1"
  else
    echo "reach $1 $(echo "$said" | grep -io -m 1 -e 'message too long.*' -e '[0-9]*% packet loss' -e '.*unreachable' -e 'not permitted.*' || echo "$said" | tail -n 1)"
  fi
}
gpu_processes() {
  nvidia-smi --query-compute-apps=pid,used_memory,process_name --format=csv,noheader,nounits 2>/dev/null |
    while IFS=', ' read -r pid used name; do
      [ -d "/proc/$pid" ] && echo "gpu_process $pid $used $(grep -o -m 1 '[0-9a-f]\{64\}' "/proc/$pid/cgroup" | head -n 1 | grep . || echo -) $name"
    done
}
peers() {
  mtu=$(ip -o link show "$(ip -o -4 addr show to "$3" | awk '{ print $2; exit }')" 2>/dev/null | sed -n 's/.* mtu \([0-9]*\).*/\1/p')
  [ -n "$mtu" ] && command -v ping >/dev/null && echo ping || return 0
  from=$3
  shift 5
  # 28 bytes of a frame are the headers of IP and ICMP; no packet is larger than 65535 bytes.
  size=$((mtu > 65535 ? 65507 : mtu - 28))
  for peer; do frame "$peer" "$size" "$from" & done
  wait
}
# Short lines are written whole, so those of several processes do not mix; long ones come from this shell alone.
late=$( peers "$@" & gpu_processes & wait )
echo "$late"

awk '/^(MemTotal|MemFree|MemAvailable|Buffers|Cached|SwapCached|AnonPages|Slab|KernelStack|PageTables|Percpu|Hugetlb):/ {
  sub(":", "", $1); print "memory " $1 " " $2 }' "${SGLANG_SPARK_MEMINFO:-/proc/meminfo}"

model=$4 folder=
case $model in '~' | '~/'*) model=$HOME${model#'~'} ;; esac
if [ -n "$model" ]; then
  printf 'model_root %s\n' "$model"
  if [ -d "$model/snapshots" ]; then
    commit=$(cat "$model/refs/$5" 2>/dev/null) || commit=$5
    printf 'model_commit %s\n' "$commit"
    folder=$model/snapshots/$commit
    ls "$model/snapshots" | sed 's/^/model_snapshot /'
  else
    folder=$model
  fi
  place=$model
  until [ -d "$place" ] || [ -z "$place" ]; do place=${place%/*}; done
  df -Pk "${place:-/}" | { read -r _; read -r _ _ _ free _; echo "model_disk_free $free"; }
fi
if [ -n "$folder" ] && cd "$folder" 2>/dev/null; then
  printf 'model_folder %s\n' "$folder"
  [ -f config.json ] && printf 'model_config %s\n' "$(head -c 1000000 config.json | tr '\n' ' ')"
  index=model.safetensors.index.json
  if [ -f "$index" ]; then
    echo "model_total $(grep -o -m 1 '"total_size": *[0-9]*' "$index" | tr -dc 0-9)"
    grep -o '"[^"/]*\.safetensors"' "$index" | awk '!seen[$0]++ { gsub("\"", ""); print "model_wanted " $0 }'
  fi
  # A link into nowhere has no size of its own.
  stat -L -c 'model_shard %s %n' -- *.safetensors 2>/dev/null
  cd /
fi
