#!/bin/bash
# Runs inside of the guest that systemd has booted: what a new user does, and what goes wrong in a host's life. Each step prints
# "ok" or "FAIL" and what was seen; the test outside reads the list.
exec >/result 2>&1
export HOME=/root XDG_CACHE_HOME=/root/.cache PATH=/usr/local/bin:$PATH
ok() { printf 'ok    %s\n' "$1"; }
fail() { printf 'FAIL  %s\n' "$1"; shift; printf '%s\n' "$@" | sed 's/^/      /'; }
is() { if [ "$2" = "$3" ]; then ok "$1"; else fail "$1" "got: $2" "want: $3"; fi; }
has() { case $2 in *"$3"*) ok "$1" ;; *) fail "$1" "$2" "does not contain: $3" ;; esac; }
until_is() { # what command want
	local got end=$((SECONDS + 25))
	while [ $SECONDS -lt $end ]; do
		got=$(eval "$2" 2>&1)
		[ "$got" = "$3" ] && { ok "$1"; return; }
		read -rt 0.1 <> <(:) || true
	done
	fail "$1" "got: $got" "want: $3" "$(journalctl -u udpmon -u "agent@*" -n 12 --no-pager -o cat)"
}
sweep() { udpsrv sweep --to 127.0.0.1 --wait 500ms --json 2>/dev/null | tr ',{' '\n\n' | sed -n 's/"name":"\(.*\)"/\1/p; s/"status":"\(.*\)"/\1/p' | xargs; }

ip link set lo up
# The root is files of the machine outside, where everything belongs to one user: what rollcall owns needs a file system of the guest's.
mount -t tmpfs tmpfs /var/lib
bank=/sys/kernel/config/gpio-sim/pi/bank0
mkdir -p $bank && echo 28 >$bank/num_lines && echo pinctrl-bcm2835 >$bank/label && echo 1 >/sys/kernel/config/gpio-sim/pi/live
sim=$(echo /sys/devices/platform/gpio-sim.0/gpiochip*)
udevadm settle

# The README's lines, after `make install`.
systemd-sysusers /usr/local/lib/sysusers.d/rollcall.conf && systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/rollcall.conf
udevadm trigger --subsystem-match=gpio --action=add && udevadm settle
is 'the chip belongs to group gpio' "$(stat -c %G:%a /dev/$(basename $sim))" gpio:660
systemctl daemon-reload
systemctl enable --now udpmon agent@hostsensor
is 'udpmon is active' "$(systemctl is-active udpmon)" active
is 'agent@hostsensor is active' "$(systemctl is-active agent@hostsensor)" active
until_is 'the sweep finds hostsensor' sweep 'hostsensor online'
cat >/etc/rollcall/rollcall.yaml <<YAML
host: pizero2
broker: {listen: "0.0.0.0:1883"}
agents:
  hostsensor: {}
  gpio: {chip: pinctrl-bcm2835}
YAML
is 'the new configuration is good' "$(udpmon --check --config /etc/rollcall/rollcall.yaml && agentd --check --config /etc/rollcall/rollcall.yaml >/dev/null && echo good)" "$(printf 'configuration is good\ngood')"
systemctl restart udpmon
systemctl restart agent@hostsensor
systemctl enable --now agent@gpio
until_is 'the sweep finds both' sweep 'gpio online hostsensor online'
is 'udpmon may write the table of neighbours and nothing more' "$(sed -n 's/^Cap\(Eff\|Prm\|Bnd\|Amb\):\t//p' /proc/$(pidof udpmon)/status | sort -u)" 0000000000001000
is 'the daemons run as rollcall' "$(ps -o user= -C udpmon,agentd | sort -u | xargs)" rollcall

# A pin of the kernel's chip, through everything.
printf 'outputs:\n  pump: {pin: 25, initial: off}\ninputs:\n  door: {pin: 22, pull: up}\n' >/tmp/pins.yaml
has 'set-up of pins' "$(udpsrv setup pizero2/gpio -f /tmp/pins.yaml --broker tcp://127.0.0.1:1883 2>&1; echo "status $?")" 'status 0'
is 'set' "$(udpsrv set pizero2/gpio/output/pump ON --broker tcp://127.0.0.1:1883 >/dev/null 2>&1; cat $sim/sim_gpio25/value)" 1
echo pull-down >$sim/sim_gpio22/pull
until_is 'an edge is published' 'udpsrv get pizero2/gpio/input/door --broker tcp://127.0.0.1:1883' OFF

# What goes wrong.
systemctl kill -s KILL udpmon
until_is 'udpmon comes back after SIGKILL' 'systemctl is-active udpmon; systemctl show -P NRestarts udpmon' "$(printf 'active\n1')"
until_is 'the agents reconnect' sweep 'gpio online hostsensor online'
systemctl kill -s KILL agent@gpio
until_is 'agent@gpio comes back after SIGKILL' 'systemctl is-active agent@gpio; systemctl show -P NRestarts agent@gpio' "$(printf 'active\n1')"
until_is 'with its set-up' 'udpsrv get pizero2/gpio/output/pump --broker tcp://127.0.0.1:1883' OFF
systemctl kill -s ABRT agent@gpio
until_is 'and after a crash, whose status would be 2' 'systemctl is-active agent@gpio; systemctl show -P NRestarts agent@gpio' "$(printf 'active\n2')"
systemctl kill -s STOP udpmon
until_is 'a hanging udpmon is restarted by the watchdog' 'systemctl is-active udpmon; systemctl show -P NRestarts udpmon' "$(printf 'active\n2')"
cp /etc/rollcall/rollcall.yaml /tmp/good.yaml
echo 'brokr: {}' >>/etc/rollcall/rollcall.yaml
systemctl reload udpmon
until_is 'a bad file is refused on reload, with its line' 'journalctl -u udpmon -o cat --no-pager | grep -c "rollcall.yaml:6: brokr: unknown key"' 1
is 'and the old one stays in force' "$(systemctl is-active udpmon)" active
systemctl restart udpmon
until_is 'a start with it fails for good' 'systemctl is-failed udpmon; systemctl show -P ExecMainStatus udpmon' "$(printf 'failed\n2')"
cp /tmp/good.yaml /etc/rollcall/rollcall.yaml
systemctl reset-failed udpmon
systemctl start udpmon
until_is 'all is well again' sweep 'gpio online hostsensor online'
systemctl stop agent@gpio
until_is 'a stopped agent says offline' sweep 'gpio offline hostsensor online'
systemctl start agent@nothere
until_is 'an agent that is not configured is said so' 'systemctl is-failed agent@nothere; systemctl show -P ExecMainStatus agent@nothere' "$(printf 'failed\n2')"
has 'in its journal' "$(journalctl -u agent@nothere -o cat --no-pager)" nothere
echo end
