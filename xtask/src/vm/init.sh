#!/bin/sh
# The guest's first process: lays out what a system has, runs one command,
# says how it ended, and turns the machine off.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
# Set for what runs here, so that a test knows it may break this machine.
export VMTRACE_GUEST=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp && chmod 1777 /tmp
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+memory +pids +cpu" > /sys/fs/cgroup/cgroup.subtree_control
ln -sf /proc/self/fd /dev/fd
if [ -d /peers ]; then
    for dir in dev proc sys tmp; do mount -o rbind /$dir /peers/$dir; done
fi
hostname guest
ip link set lo up
ulimit -c 0

# The control file for swap in memory, and no device yet.
depmod 2>/dev/null
modprobe zram num_devices=0 2>/dev/null
if [ -e /etc/vm/swap ]; then
    mkswap /dev/nvme0n1p3 >/dev/null && swapon /dev/nvme0n1p3
fi

echo "init: ready"
if [ -e /etc/vm/shell ]; then
    cd /root && setsid cttyhack sh
    status=$?
else
    stty -F /dev/ttyS1 raw 115200
    stty -F /dev/ttyS2 raw 115200
    cd /root && setsid sh /etc/vm/command </dev/null >/dev/ttyS1 2>/dev/ttyS2
    status=$?
fi

# Files for the host travel on a raw partition.
[ -z "$(ls -A /out)" ] || tar -cf /dev/nvme0n1p2 -C /out .
sync
# In one write and on a line of its own, whatever the kernel prints meanwhile.
printf '\ninit: exit %d\n' "$status" > /dev/console
[ "$status" != 0 ] || printf '\ninit: success\n' > /dev/console
poweroff -f
