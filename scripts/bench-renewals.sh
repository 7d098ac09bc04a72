#!/usr/bin/env bash
# Measures how fast the months of many subscriptions begin that end at the same instant, beside its baselines, in one run on
# one machine: months begun together by one billing service and by three, each month by itself, and pgbench with hand-written
# SQL on tables that stay as they are. Starts a private PostgreSQL with durable commits and stops it again.
#   scripts/bench-renewals.sh [--accounts N] [--by-themselves N]
# N: how many are due, and how many of them where each month is by itself [default: 20000 and 2000]. BURSAR_BILLING names a
# program that is built already. The services run without their peers: nothing of a renewal asks them.
set -euo pipefail
# What is measured in `$(…)` stops at its first failure, too.
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

accounts=20000
alone=2000
while [[ $# -gt 0 ]]; do
  case $1 in
    --accounts) accounts=$2 ;;
    --by-themselves) alone=$2 ;;
    *) echo "what is $1? See the head of $0" >&2; exit 2 ;;
  esac
  shift 2
done
scripts/postgres.sh
if [[ -z ${BURSAR_BILLING:-} ]]; then
  cargo build --release --package bursar-billing
  BURSAR_BILLING=${CARGO_TARGET_DIR:-target}/release/bursar-billing
fi

source scripts/bench/server.sh
# A value, and nothing else.
value() {
  sql --tuples-only --no-align "$@"
}

# name, combine, how many replicas, how many are due
measure() {
  local name=$1 combine=$2 replicas=$3 due=$4 data=$home/services-$1 base store
  # It is measured in a shell of its own, which ends what it has begun.
  services=()
  trap '[[ ${#services[@]} -eq 0 ]] || kill "${services[@]}" 2>/dev/null || true' EXIT
  mkdir "$data"
  sql --dbname=postgres --command="CREATE DATABASE $name"
  store="postgres://bench@localhost/$name?host=$home"
  export BURSAR_BILLING_STORE=$store BURSAR_BILLING__COMBINE=$combine
  "$BURSAR_BILLING" migrate --mode development --data-dir "$data" >/dev/null
  sql --dbname="$name" --set=n="$due" --file=scripts/bench/due.sql >/dev/null
  sql --dbname="$name" --command='VACUUM ANALYZE'
  for ((replica = 0; replica < replicas; replica++)); do
    base=$((37000 + replica * 10))
    "$BURSAR_BILLING" serve --mode development --data-dir "$data" --port-base "$base" --log-filter error \
      --identity-url http://127.0.0.1:1 --organization-url http://127.0.0.1:1 >"$data/log-$replica" 2>&1 &
    services+=($!)
    until (exec 3<>"/dev/tcp/127.0.0.1/$base") 2>/dev/null; do
      kill -0 $! || { cat "$data/log-$replica" >&2; exit 1; }
      sleep 0.1
    done
  done
  # From here on all of them are due. Nobody waits for the services' next look: the first month starts the clock.
  sql --dbname="$name" --command='UPDATE subscriptions SET period_end = period_end - 86400000000'
  local ends=$((SECONDS + 900))
  until [[ $(value --dbname="$name" --command='SELECT NOT EXISTS (SELECT 1 FROM subscriptions WHERE period_number = 0)') == t ]]; do
    sleep 0.2
    kill -0 "${services[@]}" && ((SECONDS < ends)) || { cat "$data"/log-* >&2; exit 1; }
  done
  value --dbname="$name" --command="SELECT round(count(*) / extract(epoch FROM now() - to_timestamp(min(created_at) / 1e6)))
    FROM payments WHERE purpose = 'RENEWAL' AND state = 'PAID'"
  local ill
  ill=$(value --dbname="$name" --command="SELECT count(*) FROM subscriptions AS s WHERE period_number <> 1
    OR (SELECT count(*) FROM payments AS p WHERE p.owner = s.owner) <> 2 OR (SELECT count(*) FROM invoices AS i WHERE i.owner = s.owner) <> 2")
  [[ $ill == 0 ]] || { echo "$ill subscriptions have not begun one month" >&2; exit 1; }
  kill "${services[@]}" && wait "${services[@]}" || true
  services=()
  sql --dbname=postgres --command="DROP DATABASE $name WITH (FORCE)"
}

sql --dbname=postgres --command='CREATE DATABASE bare'
sql --dbname=bare --file=scripts/bench/months.sql
printf '%-48s %12s\n' 'renewals' 'per second'
by_hand=$("$programs/pgbench" --host="$home" --username=bench --no-vacuum --client=16 --jobs=2 --time="${SECONDS_EACH:-5}" \
  --protocol=prepared --file=scripts/bench/month.sql bare 2>&1 | awk '/^tps = / { printf "%.0f", $3 }')
printf '%-48s %12s\n' 'pgbench, hand-written transaction each' "$by_hand"
one=$(measure one true 1 "$accounts")
printf '%-48s %12s\n' "$accounts due, one service" "$one"
three=$(measure three true 3 "$accounts")
printf '%-48s %12s\n' "$accounts due, three services" "$three"
apart=$(measure apart false 1 "$alone")
printf '%-48s %12s\n' "$alone due, each month by itself" "$apart"
printf '\n%-48s %12s   %s\n' 'ratio' 'measured' 'wanted'
ratio() { awk -v a="$2" -v b="$3" -v name="$1" -v wanted="$4" 'BEGIN { printf "%-48s %12.2f   %s\n", name, a / b, wanted }'; }
ratio 'one service / 2,000 a second' "$one" 2000 '>= 1'
ratio 'three services / one' "$three" "$one" '>= 1'
ratio 'one service / each month by itself' "$one" "$apart" ''
ratio 'one service / pgbench, hand-written' "$one" "$by_hand" ''
