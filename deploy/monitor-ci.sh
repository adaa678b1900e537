#!/bin/sh
# One scheduled look of a monitor in a CI job, whose memory is a signed archive between two runs.
#
#   monitor-ci.sh SETTINGS ARCHIVE [COMMAND…]
#
# SETTINGS is monitor.toml in a checkout of a protected branch, with `state = "state"`; beside it lies monitor.signers, the allowed
# signers of ssh-keygen, with one line: `monitor ssh-ed25519 AAAA…`. ARCHIVE is where the job fetched the last memory to, with
# ARCHIVE.sig beside it, and where it takes the next one from. MONITOR_KEY names the private key, which only jobs of the protected
# branch get. Ends as `hubledger monitor once` does; 3 also where the memory cannot be trusted. COMMAND is another one of
# `hubledger monitor` in the place of `once`, such as `resolve 2 --note "ticket 7"`.
#
# The first run of all is asked for by hand: MONITOR_FROM=genesis, or a pinned checkpoint of the branch.
set -eu
umask 077

settings=$1 archive=$2
shift 2
[ "$#" -gt 0 ] || set -- once
folder=$(dirname -- "$settings")
namespace=hubledger-monitor-state

refuse() {
    echo "monitor-ci: $1" >&2
    exit 3
}

# A memory that came with the checkout, or is left from another job, is nobody's.
[ ! -e "$folder/state" ] || refuse "there is a folder state already: start from a clean checkout"

if [ -n "${MONITOR_FROM:-}" ]; then
    # Never over a memory: whoever can make one disappear could else make the monitor forget.
    [ ! -e "$archive" ] || refuse "MONITOR_FROM is set, and there is a memory: remove one of them"
    hubledger monitor init --config "$settings" --from "$MONITOR_FROM"
else
    [ -f "$archive" ] && [ -f "$archive.sig" ] || refuse "no memory with a signature: a monitor never begins anew by itself"
    # Nothing of the archive is unpacked, or even listed, before its signature holds.
    ssh-keygen -Y verify -f "$folder/monitor.signers" -I monitor -n "$namespace" -s "$archive.sig" < "$archive" > /dev/null ||
        refuse "the memory is not signed by the monitor's key"
    tar -xf "$archive" -C "$folder" state
fi

code=0
hubledger monitor "$@" --config "$settings" || code=$?

# The old memory stays until the new one is signed: a job that is ended here leaves it as it was.
rm -f -- "$archive.new" "$archive.new.sig"
tar -cf "$archive.new" -C "$folder" state
ssh-keygen -Y sign -q -f "$MONITOR_KEY" -n "$namespace" "$archive.new"
mv -f -- "$archive.new.sig" "$archive.sig"
mv -f -- "$archive.new" "$archive"
exit "$code"
