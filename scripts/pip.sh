# For other scripts to source: programs that PyPI ships as wheels, each in an environment of its own under target/.

# Prints where a program lies, after installing it where it is missing: `pip_program buf-bin==1.75.0 buf`.
pip_program() {
  local package=$1 program=$2
  local environment=target/${program}-${package##*==}
  if ! "$environment/bin/$program" --version >/dev/null 2>&1; then
    rm -rf "$environment"
    # Debian's own Python comes without the module for virtual environments.
    if ! python3 -m venv "$environment" >/dev/null 2>&1; then
      if [[ $(id -u) -ne 0 ]]; then
        echo "Python's venv is missing: install it with 'apt-get install python3-venv' and run this again." >&2
        return 1
      fi
      { apt-get update && apt-get install -y --no-install-recommends python3-venv; } >/dev/null || return 1
      python3 -m venv --clear "$environment" >&2 || return 1
    fi
    "$environment/bin/pip" install --quiet --disable-pip-version-check "$package" >&2 || return 1
  fi
  echo "$environment/bin/$program"
}
