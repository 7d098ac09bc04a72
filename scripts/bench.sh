#!/usr/bin/env bash
# Measures Bursar beside its baselines, in one run on one machine: the combining lane, one transaction for each charge,
# and pgbench with hand-written SQL on tables that stay as they are. Starts a private PostgreSQL with durable commits and stops it
# again. Arguments go to `bursar bench`: `scripts/bench.sh --loads hot,batch --seconds 10`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/postgres.sh
cargo build --release --package bursar --package bursar-billing
bursar=${CARGO_TARGET_DIR:-target}/release/bursar

source scripts/bench/server.sh
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
