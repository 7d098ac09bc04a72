#!/usr/bin/env bash
# Sees to it that PostgreSQL's programs are on this machine: the tests start a private server of their own with them.
# Installs Debian's package where that is allowed; otherwise says in one line what to do and exits 1.
# Running it again changes nothing. No server is left running by it.
set -euo pipefail

installed() {
  local directory
  for directory in ${PATH//:/ } /usr/lib/postgresql/*/bin; do
    if [[ -x $directory/initdb && -x $(dirname "$(readlink -f "$directory/initdb")")/postgres ]]; then
      return 0
    fi
  done
  return 1
}

if installed; then
  exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  # Never ask for a password in the middle of a test run.
  if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  else
    echo "PostgreSQL is missing: install it with 'sudo apt-get install postgresql' (or your system's package) and run this again." >&2
    exit 1
  fi
fi
if ! command -v apt-get >/dev/null; then
  echo "PostgreSQL is missing: install your system's package so that initdb and postgres are in PATH, and run this again." >&2
  exit 1
fi

echo "Installing PostgreSQL for the tests …" >&2
export DEBIAN_FRONTEND=noninteractive
# Debian's package would make a cluster and start it; the tests want the programs only.
if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
  "${as_root[@]}" mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
install() {
  "${as_root[@]}" apt-get install -y --no-install-recommends postgresql >/dev/null
}
# Package lists may be missing or old on a fresh machine.
install 2>/dev/null || { "${as_root[@]}" apt-get update >/dev/null && install; } || true

if ! installed; then
  echo "PostgreSQL could not be installed: run 'apt-get install postgresql' and see why." >&2
  exit 1
fi
