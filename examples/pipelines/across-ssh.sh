#!/bin/bash
# SPDX-License-Identifier: ISC
# A bridge over a border that only ssh crosses: the source here, the sink there, and the acknowledgements come back
# through the same connection. The connection is cut again and again; nothing is lost.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

# An sshd of our own, on loopback, in the place of the other side.
PATH=$PATH:/usr/sbin
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f key
cp key.pub authorized_keys
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
kmock -t there:6 >address &
until_true test -s address
THERE=$(cat address)
until grep -qs 'Server listening' sshd.log; do
	port=$((20000 + RANDOM % 10000))
	printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $work/host_key" "PidFile $work/sshd.pid" \
		"AuthorizedKeysFile $work/authorized_keys" 'StrictModes no' 'UsePAM no' \
		"SetEnv PATH=$PATH KAFKA_BROKERS=$THERE" >sshd_config
	"$(command -v sshd)" -D -f "$work/sshd_config" -E sshd.log &
	# Another program may have the port.
	until_true grep -qs -e 'Server listening' -e 'Cannot bind' sshd.log
done
printf '%s\n' 'Host there' 'HostName 127.0.0.1' "Port $port" "IdentityFile $work/key" 'StrictHostKeyChecking no' \
	'UserKnownHostsFile /dev/null' 'LogLevel ERROR' >ssh_config
mkdir bin
printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$work/ssh_config" >bin/ssh
chmod +x bin/ssh
PATH=$work/bin:$PATH
HOST=there
export HOST

for chunk in {0..9}; do
	seq $((chunk * 1000 + 1)) $((chunk * 1000 + 1000))
	sleep 0.2
done | kwrite --raw -t orders &
evpipe --restart kread -g across orders '|' sh -c 'exec ssh -o ExitOnForwardFailure=yes -R /tmp/ack.$$:$EVPIPE_ACK $HOST kwrite --ack /tmp/ack.$$ -t there' &
unit=$!
cuts=0
until [ "$(kread -q -e --raw -b "$THERE" there | sort -u | wc -l)" -eq 10000 ]; do
	# The server's side of the connection.
	if [ "$cuts" -lt 3 ] && pkill -KILL -P "$(cat sshd.pid)"; then
		cuts=$((cuts + 1))
	fi
	sleep 0.2
done
[ "$cuts" -gt 0 ]
echo "cuts: $cuts"
stop "$unit"
# All is committed, so that nothing comes again.
[ -z "$(kread -q -e -g across --commit never orders)" ]
