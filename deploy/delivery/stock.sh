# What a node has of an image's parts, for the planning of a delivery. Changes nothing. Argument: PROBE, a reference that
# its registry does not have, or empty. Lines of KEY VALUE; deploy/delivery/stock.py reads them.
docker info --format 'store {{json .DriverStatus}}' || exit 1
command -v python3 >/dev/null && echo 'python3 yes'
ids=$(docker image ls --quiet --no-trunc | sort -u)
# shellcheck disable=SC2086
[ -z "$ids" ] || docker image inspect --format 'image {"tags":{{json .RepoTags}},"digests":{{json .RepoDigests}},"layers":{{json .RootFS.Layers}}}' $ids
# The engine itself is asked to reach the registry: its proxies, its trust and this user's login count, and no others.
if [ -n "$1" ]; then
  said=$(timeout 15 docker pull --quiet "$1" 2>&1) || case $? in 124) said='no answer in 15 s' ;; esac
  printf 'registry %s\n' "$(printf %s "$said" | tail -n 1)"
fi
exit 0
