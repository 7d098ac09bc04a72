#!/usr/bin/env bash
# Makes the three Secrets that the Deployments mount, once, and prints them as YAML for `kubectl apply -f -`:
#
#   deploy/kubernetes/secrets.sh postgres://bursar:PASSWORD@db.example.com smtps://USER:PASSWORD@mail.example.com:465 \
#     sslmode=verify-full | kubectl apply -f -
#
# The databases `identity`, `organization` and `billing` must exist on that server. Keep the output: whoever loses the
# master keys loses what they seal, and `operator.json` is what an operator signs in with.
set -euo pipefail

if [[ $# -lt 2 || $# -gt 3 ]]; then
  echo "usage: $0 POSTGRES_URL_WITHOUT_DATABASE SMTP_URL [PARAMETERS_OF_THE_POSTGRES_URL]" >&2
  exit 2
fi
server=${1%/}
smtp=$2
parameters=${3:+?$3}

# 32 random bytes, as hexadecimal digits (keys) or in base64url without padding (secrets).
key() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
secret() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

identity=$(secret)
organization=$(secret)
billing=$(secret)

cat <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: bursar-identity
  namespace: bursar
stringData:
  store: "$server/identity$parameters"
  smtp: "$smtp"
  master.key: "$(key)"
  identity: "$identity"
  organization: "$organization"
  billing: "$billing"
  operator.json: |
    {"client_id": "svc_0000000000e008000000000001", "client_secret": "$(secret)"}
---
apiVersion: v1
kind: Secret
metadata:
  name: bursar-organization
  namespace: bursar
stringData:
  store: "$server/organization$parameters"
  smtp: "$smtp"
  master.key: "$(key)"
  organization: "$organization"
---
apiVersion: v1
kind: Secret
metadata:
  name: bursar-billing
  namespace: bursar
stringData:
  store: "$server/billing$parameters"
  master.key: "$(key)"
  billing: "$billing"
YAML
