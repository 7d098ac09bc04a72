#!/usr/bin/env bash
# Sees to it that Stripe's own package for Node is under target/, and prints its folder: with it the tests check their fake of
# Stripe and the inbox for webhooks (`stripe_package`), as what that package sends and expects is what Stripe speaks. Node is
# this machine's, or comes from PyPI. Where one of both cannot be had it says why and exits 1: that test is then left out.
#
#   BURSAR_TEST_STRIPE_PACKAGE=$(scripts/stripe.sh) cargo test -p bursar-billing --test billing stripe_package
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/npm.sh

readonly PACKAGE="stripe@23.1.0"

said=$(npm_package "$PACKAGE") || {
  printf '\nWARNING: the fake of Stripe was not checked with %s: %s.\n\n' "$PACKAGE" "$said" >&2
  exit 1
}
echo "$said"
