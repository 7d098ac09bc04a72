#!/usr/bin/env bash
# Lints the .proto files and compares them with proto/baseline.binpb. buf comes from PyPI, into target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BUF_VERSION=1.75.0
environment=target/buf-$BUF_VERSION
buf=$environment/bin/buf
if ! [[ -x $buf ]] || ! "$buf" --version >/dev/null 2>&1; then
  rm -rf "$environment"
  # Debian's own Python comes without the module for virtual environments.
  if ! python3 -m venv "$environment" 2>/dev/null; then
    if [[ $(id -u) -ne 0 ]]; then
      echo "Python's venv is missing: install it with 'apt-get install python3-venv' and run this again." >&2
      exit 1
    fi
    { apt-get update && apt-get install -y --no-install-recommends python3-venv; } >/dev/null
    python3 -m venv --clear "$environment"
  fi
  "$environment/bin/pip" install --quiet --disable-pip-version-check "buf-bin==$BUF_VERSION"
fi

"$buf" lint proto
echo "buf lint: passed."

# Names, numbers and JSON names that callers rely on may not change. The baseline is a picture of the .proto files as they
# were when that began to hold (buf build proto -o proto/baseline.binpb).
baseline=proto/baseline.binpb
if [[ -f $baseline ]]; then
  "$buf" breaking proto --against "$baseline"
  echo "buf breaking: passed, callers of $baseline are served as before."
else
  echo "buf breaking: skipped, there is no $baseline."
fi
