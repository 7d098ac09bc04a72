#!/usr/bin/env bash
# Lints the .proto files and compares them with those that have landed: names, numbers and JSON names that callers rely
# on may not change. Usage: scripts/buf.sh [COMMIT to compare with]. buf comes from PyPI, into target/.
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

# What has landed: the published main if this clone knows one apart from HEAD; else the newest commit that is three hours
# older than HEAD. A series of commits that lands as one spans less, and within it an RPC may still be renamed.
baseline() {
  local published
  published=$(git merge-base HEAD origin/main 2>/dev/null || true)
  if [[ -n $published && $published != "$(git rev-parse HEAD)" ]]; then
    echo "$published"
    return
  fi
  local until=$(($(git log -1 --format=%ct HEAD) - 3 * 3600))
  git rev-list --first-parent --max-count=1 --before="$until" HEAD
}

against=${1:-$(baseline)}
if [[ -z $against ]]; then
  echo "buf breaking: skipped, there is no earlier commit to compare with."
elif ! git cat-file -e "$against:proto/buf.yaml" 2>/dev/null; then
  echo "buf breaking: skipped, ${against:0:12} has no proto/buf.yaml."
else
  before=target/buf-before
  rm -rf "$before"
  mkdir -p "$before"
  git archive "$against" proto | tar -x -C "$before"
  "$buf" breaking proto --against "$before/proto"
  echo "buf breaking: passed, callers of ${against:0:12} are served as before."
fi
