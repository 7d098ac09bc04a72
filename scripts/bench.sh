#!/usr/bin/env bash
# Measures Bursar beside its baselines, in one run on one machine: the combining lane, one transaction for each charge,
# and pgbench with hand-written SQL on tables that stay as they are. Starts a private PostgreSQL with durable commits and stops it
# again. Arguments go to `bursar bench`: `scripts/bench.sh --loads hot,batch --seconds 10`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/postgres.sh
cargo build --release --package bursar --package bursar-billing
bursar=${CARGO_TARGET_DIR:-target}/release/bursar

programs=$(dirname "$(readlink -f "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | tail -1)")")
home=$(mktemp -d /tmp/bursar-bench.XXXXXX)
as=()
if [[ $(id -u) -eq 0 ]]; then
  # PostgreSQL refuses to run as root.
  chown postgres "$home"
  as=(setpriv --reuid=postgres --regid="$(id -g postgres)" --clear-groups --)
fi
finish() {
  "${as[@]}" "$programs/pg_ctl" --pgdata="$home/data" --mode=immediate stop >/dev/null 2>&1 || true
  rm -rf "$home"
}
trap finish EXIT

(cd / && "${as[@]}" "$programs/initdb" --pgdata="$home/data" --username=bench --auth=trust --encoding=UTF8 --locale=C >/dev/null)
cat >>"$home/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$home'
fsync = on
synchronous_commit = on
max_connections = 200
shared_buffers = 512MB
max_wal_size = 8GB
checkpoint_timeout = 30min
CONF
(cd / && "${as[@]}" "$programs/pg_ctl" --pgdata="$home/data" --log="$home/log" --wait start >/dev/null)
sql() {
  "$programs/psql" --host="$home" --username=bench --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@"
}
for database in lane plain bare; do
  sql --dbname=postgres --command="CREATE DATABASE $database"
done
url() {
  echo "postgres://bench@localhost/$1?host=$home"
}

# pgbench: tables of its own (frozen), one account and one lot, charged by hand-written SQL.
sql --dbname=bare --file=scripts/bench/pool.sql
measure() {
  "$programs/pgbench" --host="$home" --username=bench --no-vacuum --client=64 --jobs=2 --time="${SECONDS_EACH:-5}" \
    --protocol=prepared --file="scripts/bench/$1.sql" bare 2>&1 | awk '/^tps = / { print $3 }'
}
{
  printf 'pgbench, hand-written transaction\t%s\n' "$(measure transaction)"
  printf 'pgbench, one statement\t%s\n' "$(measure statement)"
} >"$home/beside"

"$bursar" bench --store "$(url lane)" --baseline --baseline-store "$(url plain)" --beside "$home/beside" "$@"
