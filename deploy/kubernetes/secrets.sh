#!/usr/bin/env bash
# Makes the three Secrets that the Deployments mount, once, and writes them to a new file that only you can read:
#
#   deploy/kubernetes/secrets.sh secrets.yaml sslmode=verify-full        (which is also what no second argument means)
#   kubectl apply -f secrets.yaml
#
# It asks for two URLs and a key, or reads them as the three lines of standard input; passwords never stand in a command line, where
# everybody on the machine could read them:
#
#   postgres://bursar:PASSWORD@db.example.com          without a database: identity, organization and billing must exist
#   smtps://USER:PASSWORD@mail.example.com:465
#   the secret access key of the bucket in which the content of libraries lies
#
# Keep the file where you keep secrets: whoever loses the master keys loses what they seal, and `operator.json` is what an
# operator signs in with.
set -euo pipefail
umask 077

usage() {
  echo "usage: $0 FILE [PARAMETERS_OF_THE_POSTGRES_URL]; the URLs of PostgreSQL and of the mail server, and the secret access key of the bucket, come on standard input" >&2
  exit 2
}
[[ $# -ge 1 && $# -le 2 ]] || usage
for argument in "$@"; do
  case $argument in
    -* | *://* | *[[:cntrl:]\"\\]*) usage ;;
  esac
done
file=$1
# Without another word, the connection is encrypted and the server is who its certificate says; production mode refuses less than
# sslmode=require where pods may not speak plaintext.
parameters=?${2:-sslmode=verify-full}

# Asks without showing what is typed. Quotes, backslashes and control characters would end the YAML string.
ask() {
  local -n answer=$2
  if [[ -t 0 ]]; then
    printf '%s: ' "$1" >&2
    IFS= read -rs answer
    echo >&2
  else
    # A last line without an end is one, too.
    IFS= read -r answer || [[ -n $answer ]]
  fi || { echo "no $1" >&2; exit 2; }
  case $answer in
    "" | *[[:cntrl:]\"\\]*) echo "this is no $1" >&2; exit 2 ;;
  esac
}
ask "URL of PostgreSQL, without a database" server
ask "URL of the mail server" smtp
ask "secret access key of the bucket" s3
server=${server%/}
case $server in
  *\?*) echo "the URL of PostgreSQL has parameters: give them as the second argument" >&2; exit 2 ;;
esac

[[ ! -e $file && ! -L $file ]] || { echo "$file exists: these secrets are made once" >&2; exit 1; }
draft=$(mktemp "$(dirname -- "$file")/.secrets.XXXXXXXX")
trap 'rm -f -- "$draft"' EXIT
trap 'exit 1' HUP INT TERM

# 32 random bytes, as hexadecimal digits (keys) or in base64url without padding (secrets).
key() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
secret() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# `printf` is the shell's own: what it writes is in no process's arguments, and in no temporary file of a here-document.
begin() { printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: bursar-%s\n  namespace: bursar\nstringData:\n' "$1"; }
entry() { printf '  %s: "%s"\n' "$1" "$2"; }

identity=$(secret)
organization=$(secret)
billing=$(secret)
operator=$(secret)
for value in "$identity" "$organization" "$billing" "$operator"; do
  [[ ${#value} -eq 43 ]] || { echo "no random bytes" >&2; exit 1; }
done
master() {
  local value
  value=$(key)
  [[ ${#value} -eq 64 ]] || { echo "no random bytes" >&2; exit 1; }
  entry master.key "$value"
}

{
  begin identity
  entry store "$server/identity$parameters"
  entry smtp "$smtp"
  master
  entry identity "$identity"
  entry organization "$organization"
  entry billing "$billing"
  printf '  operator.json: |\n    {"client_id": "svc_0000000000e008000000000001", "client_secret": "%s"}\n' "$operator"
  printf -- '---\n'
  begin organization
  entry store "$server/organization$parameters"
  entry smtp "$smtp"
  entry s3 "$s3"
  master
  entry organization "$organization"
  printf -- '---\n'
  begin billing
  entry store "$server/billing$parameters"
  master
  entry billing "$billing"
} >"$draft"

# Appears whole or not at all, and in nobody's place.
ln -- "$draft" "$file"
