#!/bin/sh
# Prints the web address of the repository that this is a clone of, or nothing: without user names
# or passwords.
url=$(git config --get remote.origin.url 2>/dev/null) || exit 0
case $url in
  http://* | https://*) echo "$url" | sed -E 's#^(https?://)[^/@]*@#\1#; s#\.git$##' ;;
  ssh://*) echo "$url" | sed -E 's#^ssh://([^/@]*@)?([^/:]+)(:[0-9]+)?/#https://\2/#; s#\.git$##' ;;
  *@*:*) echo "$url" | sed -E 's#^[^@/]*@([^:/]+):#https://\1/#; s#\.git$##' ;;
esac
