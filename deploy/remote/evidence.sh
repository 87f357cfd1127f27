# What a rank left behind on this node, for people to read and for deploy/launch/watch/cause.py. Reads only.
# Argument: CONTAINER. Environment variables of the container are left out: their values may be secrets.
echo '### clock'
date '+%s.%N'
echo '### id'
timeout 10 docker inspect --format '{{.Id}}' "$1" 2>&1
echo '### container'
timeout 10 docker inspect --format '{"state":{{json .State}},"image":{{json .Config.Image}},"command":{{json .Config.Cmd}},"labels":{{json .Config.Labels}},"mounts":{{json .Mounts}},"host":{{json .HostConfig}}}' "$1" 2>&1
echo '### containers'
timeout 10 docker ps --all --no-trunc --format '{{.Names}} {{.Status}} {{.Image}}' 2>&1
echo '### kernel'
{ dmesg --time-format iso 2>/dev/null || journalctl --dmesg --quiet --no-pager --lines 2000 2>/dev/null || echo 'not readable for this user'; } |
  grep -E 'not readable|oom-kill|Out of memory|out of memory|Killed process|NVRM|Xid|mlx5|segfault|link is not ready|Link is Down' | tail -n 60
echo '### memory'
head -n 30 "${SGLANG_SPARK_MEMINFO:-/proc/meminfo}"
echo '### disk'
df -Pk / "$HOME" "$(timeout 10 docker info --format '{{.DockerRootDir}}' 2>/dev/null || echo /)" 2>/dev/null
echo '### gpu'
timeout 20 nvidia-smi 2>&1
timeout 20 nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv 2>/dev/null
echo '### processes'
ps -eo pid,ppid,stat,rss,etimes,comm --sort=-rss 2>/dev/null | head -n 25
echo '### network'
ss -ltn 2>/dev/null | head -n 60
ip -o -4 addr show 2>/dev/null
exit 0
