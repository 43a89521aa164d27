# Tries from the inside what a task must not be able to do, and says what it sees. Nothing but what every shell has built
# in, as a runner's host may have nothing else.
say() { printf '%s\n' "$*"; }
while read -r name value rest; do
  case $name in Uid:|CapEff:|CapBnd:|NoNewPrivs:|Seccomp:) say "$name $value" ;; esac
done < /proc/self/status
pids=0
for pid in /proc/[0-9]*; do pids=$((pids + 1)); done
say "Processes: $pids"
(kill -0 1) 2>/dev/null && say "Reached: init"
[ -e "$WINDLASS_PROBE" ] && say "Reached: host"
(: > /usr/windlass-probe) 2>/dev/null && say "Reached: system"
kib=0
while [ $kib -lt 4096 ] && printf '%65536s' x; do kib=$((kib + 64)); done >> /tmp/windlass-probe 2>/dev/null
say "Disk: $kib"
deep() { say "Depth: $1"; [ "$1" -ge 16 ] || (deep $(($1 + 1)); :); }
deep 1 2>/dev/null
# Last, as it is to be the end.
mib=1
text=$(printf '%1048576s' x)
while [ $mib -lt 64 ]; do text=$text$text; mib=$((mib * 2)); say "Memory: $mib"; done
