# A private PostgreSQL with durable commits for a benchmark, to be sourced: `$programs` is where its programs lie, `$home` its
# socket, and `sql` runs statements on it. It stops when the script ends.
programs=$(dirname "$(readlink -f "$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb | tail -1)")")
home=$(mktemp -d "${TMPDIR:-/tmp}/bursar-bench.XXXXXX")
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
