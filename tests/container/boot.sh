#!/usr/bin/env bash
# The unit under a real systemd: Debian 12 in a container, installed as systemd/README.md says, with a broker that asks for
# a password and a simulated hub on the loopback of this machine, which the container shares.
#
# usage: boot.sh        needs root, and from Debian: debootstrap systemd-container mosquitto mosquitto-clients curl
# The base system and the wheels are kept in /var/cache/hub-gateway-test; everything else goes when the script ends.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd)
cache=/var/cache/hub-gateway-test
packages=systemd,systemd-sysv,python3,python3-venv,procps
base=$cache/bookworm-${packages//,/-}
work=$(mktemp -d /var/tmp/hub-gateway-boot.XXXXXX)
root=$work/root
python=$repository/.venv/bin/python
started=()          # processes of this script, ended in reverse
leader=             # the container's systemd, as this machine numbers it

say()  { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  [ -z "$leader" ] || inside journalctl --no-pager -o short-monotonic -u hub-gateway -n 60 >&2 || true
  exit 1
}

cleanup() {
  local status=$? i
  if [ -n "$leader" ]; then
    kill -s RTMIN+4 "$leader" 2>/dev/null || true       # SIGRTMIN+4 asks systemd to power off
    for i in $(seq 100); do kill -0 "$leader" 2>/dev/null || break; sleep 0.2; done
  fi
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null && wait "${started[i]}" 2>/dev/null || true
  done
  if mountpoint -q "$root" 2>/dev/null; then umount "$root" || true; fi
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

unbooted() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin "$@"; }     # a command in its file system
inside()   { nsenter -a -t "$leader" -- "$@"; }                     # a command in the booted container
shown()    { inside systemctl show hub-gateway -P "$1"; }           # one property of the unit
id_of()    { awk -F: -v group="$1" '$1 == group { print $3 }' "$root/etc/group"; }
freeport() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
expect()   { [ "$2" = "$3" ] || fail "$1: expected $3, got $2"; printf '   %s: %s\n' "$1" "$2"; }

until_true() { # seconds, what, command …
  local patience=$1 what=$2 deadline
  shift 2
  deadline=$((SECONDS + patience))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "after $patience s still not: $what"
    sleep 0.2
  done
  printf '   %s\n' "$what"
}

requirements() {
  local pair missing=""
  [ "$(id -u)" = 0 ] || fail "a container needs root: sudo $0"
  for pair in debootstrap:debootstrap systemd-nspawn:systemd-container mosquitto:mosquitto \
              mosquitto_passwd:mosquitto mosquitto_sub:mosquitto-clients curl:curl; do
    PATH=$PATH:/usr/sbin command -v "${pair%%:*}" >/dev/null || missing+=" ${pair##*:}"
  done
  [ -z "$missing" ] || fail "missing: apt-get install$missing"
  export PATH=$PATH:/usr/sbin
}

base_system() {
  mkdir -p "$cache"
  if [ ! -d "$base" ]; then
    rm -rf "$base.partial"
    debootstrap --variant=minbase --include="$packages" bookworm "$base.partial" http://deb.debian.org/debian \
      >"$work/debootstrap.log" 2>&1 || { tail -20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
    mv "$base.partial" "$base"
  fi
  mkdir -p "$root" "$work/upper" "$work/overlay"
  mount -t overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" hub-gateway-test "$root"
}

install_gateway() {
  local pip
  mkdir -p "$work/source" "$root/wheels" "$cache/wheels"
  tar -C "$repository" --exclude=./.venv --exclude=./.git --exclude=./build --exclude=./tests -c . | tar -C "$work/source" -x
  "$python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$root/wheels" "$work/source"
  "$python" -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version 3.11 \
    --require-hashes -r "$repository/requirements/run.txt" -d "$cache/wheels"
  cp "$cache"/wheels/* "$root/wheels/"

  unbooted python3 -m venv /opt/hub-gateway
  cp "$repository/requirements/run.txt" "$root/wheels/"
  pip="unbooted /opt/hub-gateway/bin/pip install -q --disable-pip-version-check --no-index --find-links /wheels"
  $pip --require-hashes -r /wheels/run.txt
  $pip --no-deps hub-gateway
  install -D -m 644 "$repository/systemd/sysusers.conf" "$root/etc/sysusers.d/hub-gateway.conf"
  install -D -m 644 "$repository/systemd/modules-load.conf" "$root/etc/modules-load.d/hub-gateway.conf"
  install -D -m 644 "$repository/systemd/hub-gateway.service" "$root/etc/systemd/system/hub-gateway.service"
  unbooted systemd-sysusers
  install -d -m 750 -g "$(id_of hub-gateway)" "$root/etc/hub-gateway"
  # Whether the group of the serial ports still counts inside the user namespace of the unit:
  install -m 640 -g "$(id_of dialout)" /dev/null "$root/srv/of-dialout"
  install -d "$root/etc/systemd/system/hub-gateway.service.d"
  printf '[Service]\nExecStartPre=/usr/bin/test -r /srv/of-dialout\n' \
    >"$root/etc/systemd/system/hub-gateway.service.d/dialout.conf"
}

config() { # extra lines of the destination from stdin
  cat <<END
gateway: {site: test, id: boot}
destinations:
  - name: broker
    url: mqtt://127.0.0.1:$broker_port
$(cat)
http: {listen: 127.0.0.1:$http_port}
devices:
  - name: infeed
    driver: modbus
    url: $(endpoint infeed)
    report: every-read
    points: [{name: first, address: holding:0, type: uint16}]
  - {name: weigher, driver: scale, url: "$(endpoint weigher)", protocol: mt-sics}
  - {name: portal, driver: rfid, url: "$(endpoint portal)"}
  - name: sorter
    driver: opcua
    url: $(endpoint sorter)
    points: [{name: speed, address: "nsu=urn:hub:conveyor;s=Sorter.Speed"}]
END
}

write_config() {
  config >"$work/hub.yaml"
  install -m 640 -g "$(id_of hub-gateway)" "$work/hub.yaml" "$root/etc/hub-gateway/hub.yaml"
}

broker() {
  install -d -m 755 "$work/broker"
  chmod 755 "$work"
  mosquitto_passwd -b -c "$work/broker/passwords" boot secret 2>/dev/null
  chmod 644 "$work/broker/passwords"
  printf 'listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s\n' "$broker_port" "$work/broker/passwords" \
    >"$work/broker/mosquitto.conf"
  mosquitto -c "$work/broker/mosquitto.conf" >"$work/broker/log" 2>&1 &
  started+=($!)
}

simulated_hub() {
  "$repository/.venv/bin/hub-simulators" run "$repository/simulators/layouts/small-hub.yaml" >"$work/simulators.json" 2>"$work/simulators.log" &
  started+=($!)
  until_true 20 "the simulated hub is ready" grep -q '"ready": true' "$work/simulators.json"
}

endpoint() { # the URL of a simulated machine
  "$python" -c 'import json, sys; print(json.loads(sys.stdin.readline())["endpoints"][sys.argv[1]])' "$1" \
    <"$work/simulators.json"
}

boot() {
  systemd-nspawn -q -D "$root" --machine=hub-gateway-test --boot --register=no --keep-unit --console=pipe --link-journal=no \
    </dev/null >"$work/nspawn.log" 2>&1 &
  started+=($!)
  until_true 30 "the container runs" pgrep -P $! -x systemd
  leader=$(pgrep -P $! -x systemd)
  until_true 60 "its systemd is up" sh -c "nsenter -a -t $leader -- systemctl is-system-running | grep -qx 'running\|degraded'"
}

message() { mosquitto_sub -p "$broker_port" -u boot -P secret -t 'hub/test/boot/infeed' -C 1 -W "${1:-20}"; }
# What an earlier process or config had not told yet comes as history, at any time: so the next message is not enough.
brings()  { message 5 | grep -q "\"$1\""; }
probe()   { curl -sf "http://127.0.0.1:$http_port/$1"; }

say "preparing: base system, gateway, broker, simulated hub"
requirements
base_system
install_gateway
broker_port=$(freeport) http_port=$(freeport)
broker
simulated_hub
write_config <<<"    username: boot"
boot

say "start without the credential file: the unit starts, is ready, and waits for its broker"
inside systemctl start hub-gateway || fail "systemctl start"
expect "state" "$(shown ActiveState)/$(shown SubState)" active/running
[ -n "$(shown StatusText)" ] || fail "the daemon reported no status"
printf '   status: %s\n' "$(shown StatusText)"
pid=$(shown MainPID)
expect "user" "$(inside stat -c %U "/proc/$pid")" hub-gateway
until_true 20 "healthz answers" probe healthz
probe metrics | grep -q '^process_resident_memory_bytes ' || fail "/proc is too restricted for the process metrics"
probe metrics | grep -q '^process_open_fds ' || fail "/proc is too restricted for the process metrics"

say "with the credential: readings arrive at the broker"
install -d -m 700 "$root/etc/credstore"
printf 'secret' >"$root/etc/credstore/hub-gateway.mqtt"
chmod 600 "$root/etc/credstore/hub-gateway.mqtt"
# shellcheck disable=SC2016
write_config <<<'    username: boot
    password: ${credential:mqtt}'
inside systemctl restart hub-gateway || fail "systemctl restart"
until_true 20 "readyz answers" probe readyz
printf '   %s\n' "$(message)" | grep . || fail "no reading arrived"
until_true 20 "every family of devices works in the sandbox" \
  sh -c "[ \"\$(curl -sf http://127.0.0.1:$http_port/metrics | grep -c '^hub_gateway_device_up{.*} 1')\" = 4 ]"

say "reload: a good config is taken, a bad one changes nothing"
pid=$(shown MainPID)
cp "$work/hub.yaml" "$work/good.yaml"
sed 's/name: first/name: renamed/' "$work/good.yaml" >"$root/etc/hub-gateway/hub.yaml"
inside systemctl reload hub-gateway || fail "systemctl reload"
until_true 20 "the new point arrives" brings renamed
echo 'devices: nonsense' >"$root/etc/hub-gateway/hub.yaml"
inside systemctl reload hub-gateway || fail "systemctl reload"
until_true 20 "the journal names the mistake" sh -c "nsenter -a -t $leader -- journalctl -u hub-gateway --no-pager | grep -q 'hub.yaml.*devices'"
until_true 20 "readings go on under the last good config" brings renamed
expect "state" "$(shown ActiveState)/$(shown SubState)" active/running
expect "main process" "$(shown MainPID)" "$pid"
cp "$work/good.yaml" "$root/etc/hub-gateway/hub.yaml"

say "kill -9: restarted, and the readings go on"
inside kill -9 "$pid"
until_true 30 "restarted" sh -c "[ \"\$(nsenter -a -t $leader -- systemctl show hub-gateway -P NRestarts)\" = 1 ]"
until_true 30 "ready again" sh -c "[ \"\$(nsenter -a -t $leader -- systemctl is-active hub-gateway)\" = active ]"
until_true 20 "new readings arrive" brings first

say "a daemon that hangs is caught by the watchdog"
printf '[Service]\nWatchdogSec=3\n' >"$root/etc/systemd/system/hub-gateway.service.d/watchdog.conf"
inside systemctl daemon-reload
inside systemctl restart hub-gateway || fail "systemctl restart"
inside kill -STOP "$(shown MainPID)"
until_true 30 "watchdog" sh -c "[ \"\$(nsenter -a -t $leader -- systemctl show hub-gateway -P Result)\" = watchdog ]"
until_true 30 "ready again" sh -c "[ \"\$(nsenter -a -t $leader -- systemctl is-active hub-gateway)\" = active ]"
rm "$root/etc/systemd/system/hub-gateway.service.d/watchdog.conf"
inside systemctl daemon-reload

say "stop: clean"
inside systemctl stop hub-gateway || fail "systemctl stop"
expect "state" "$(shown ActiveState)/$(shown SubState)" inactive/dead
expect "result" "$(shown Result)/$(shown ExecMainStatus)" success/0

say "a bad config: exit 78, and no second try"
echo 'devices: nonsense' >"$root/etc/hub-gateway/hub.yaml"
! inside systemctl start hub-gateway 2>/dev/null || fail "the unit started with a bad config"
expect "exit code" "$(shown ExecMainStatus)" 78
expect "state" "$(shown ActiveState)/$(shown SubState)" failed/failed      # not activating/auto-restart

say "everything holds"
