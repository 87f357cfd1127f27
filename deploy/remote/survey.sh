# What `doctor` wants to know of a node beyond its facts. Stands before facts.sh, whose arguments it shares. Reads only.
# Arguments: CLUSTER RECIPE FABRIC MODEL REVISION PEER... Lines of KEY VALUE; deploy/remote/survey.py reads them.
date '+clock %s.%N'
echo "ssh $SSH_CONNECTION"
for file in /sys/class/net/*/mtu; do
  name=${file#/sys/class/net/} && read -r size <"$file" && echo "mtu ${name%/mtu} $size"
done

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
  link=$(ip -o -4 addr show to "$3") && link=${link#*: }
  [ -n "$link" ] && read -r mtu <"/sys/class/net/${link%% *}/mtu" && command -v ping >/dev/null && echo ping || return 0
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

awk '$2 == "00000000" && $8 == "00000000" { print "default_route " $1; nextfile }
/^(MemTotal|MemFree|MemAvailable|Buffers|Cached|SwapCached|AnonPages|Slab|KernelStack|PageTables|Percpu|Hugetlb):/ {
  sub(":", "", $1); print "memory " $1 " " $2 }' /proc/net/route "${SGLANG_SPARK_MEMINFO:-/proc/meminfo}"

model=$4 folder=
case $model in '~' | '~/'*) model=$HOME${model#'~'} ;; esac
if [ -n "$model" ]; then
  printf 'model_root %s\n' "$model"
  if [ -d "$model/snapshots" ]; then
    commit=$5
    # A file of a hub's cache ends without a newline.
    [ -f "$model/refs/$5" ] && { read -r commit <"$model/refs/$5" || [ -n "$commit" ]; }
    printf 'model_commit %s\n' "$commit"
    folder=$model/snapshots/$commit
    for one in "$model/snapshots"/*; do [ -e "$one" ] && echo "model_snapshot ${one##*/}"; done
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
    awk 'BEGIN { RS = "\""; print "model_index" } total { sub("^[^0-9]*", ""); printf "model_total %.0f\n", $0; total = 0 }
      $0 == "total_size" { total = 1 } /^[^\/]*\.safetensors$/ && !seen[$0]++ { print "model_wanted " $0 }' "$index"
  fi
  # A link into nowhere has no size of its own.
  stat -L -c 'model_shard %s %n' -- *.safetensors 2>/dev/null
  cd /
fi
