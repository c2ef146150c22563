#!/bin/sh
# usage: apt.sh command:package ...
# Installs the Debian packages whose command is missing; says in one line which when it may not.
set -eu
missing=""
for pair in "$@"; do
  command=${pair%%:*} package=${pair#*:}
  case $command in
    modbus) [ -e /usr/include/modbus/modbus.h ] && continue ;;
    *) PATH="$PATH:/usr/sbin" command -v "$command" >/dev/null && continue ;;
  esac
  missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo"; else
  echo "missing for the tests: apt-get install$missing" >&2
  exit 1
fi
echo "installing$missing"
$sudo apt-get -qq update
DEBIAN_FRONTEND=noninteractive $sudo apt-get -qq install -y --no-install-recommends $missing >/dev/null
