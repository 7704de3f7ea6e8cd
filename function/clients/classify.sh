#!/bin/sh
# One picture to the function, by curl: the state alone, for a shell to act on.
#
#   function/clients/classify.sh function/samples/open.jpg [http://localhost:8080]
#
# Prints open, closed or no_eyes. Ends with 1 and the reason where there is no answer; after 408,
# 429 and most 5xx it asks again, when Retry-After says or a second later; within a minute.
set -eu
image=${1:?"usage: classify.sh IMAGE [URL]"}
url=${2:-http://localhost:8080}
# A file: curl empties it before it asks again.
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
curl --silent --show-error --fail-with-body --retry 3 --retry-max-time 60 --max-time 30 --output "$answer" \
  --header 'content-type: application/octet-stream' --data-binary "@$image" "$url/classify" || {
  cat "$answer" >&2
  exit 1
}
printf '%s\n' "$(sed 's/^{"state":"\([a-z_]*\)".*/\1/' "$answer")"
