#!/bin/sh
# Installs, by Debian's own package manager, what building and testing need and this machine lacks;
# also the packages that are named.
set -eu

packages="gcc make pkg-config clang clang-format libclang-rt-14-dev valgrind python3
libevent-dev libmnl-dev libcurl4-openssl-dev libjansson-dev libconfuse-dev libpq-dev libsystemd-dev
uthash-dev libcmocka-dev patch iproute2 nftables procps util-linux postgresql postgresql-client
curl etcd-client python3-etcd patroni $*"

missing=
for package in $packages; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
                missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
        echo "these packages are missing, and only root can install them:$missing" >&2
        exit 1
fi
# The package would make and start a database of its own, which nobody here uses.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q --no-install-recommends $missing
