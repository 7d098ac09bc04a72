//! Cleans up after the test process, however it ended: kills the programs that it left running and removes its files.
//! Values that clean up when they are dropped are not enough: a killed process drops nothing, and neither does a cycle.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex, PoisonError},
};

use tempfile::TempDir;

/// Reads which processes to mind until the pipe closes, as it does whenever the test process ends, then kills the rest and
/// removes the directory.
const SCRIPT: &str = r#"
minded=
while read -r word id; do
  case $word in
    watch) minded="$minded $id" ;;
    forget)
      rest=
      for one in $minded; do [ "$one" = "$id" ] || rest="$rest $one"; done
      minded=$rest ;;
  esac
done
[ -z "$minded" ] || kill -KILL $minded 2>/dev/null
# Who was just killed may still have been writing.
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// The reaper of this process.
struct Reaper {
    pipe: Mutex<ChildStdin>,
    directory: PathBuf,
}

static REAPER: LazyLock<Reaper> = LazyLock::new(|| {
    let directory = tempfile::Builder::new().prefix("bursar-test-").tempdir();
    let directory = directory.expect("a temporary directory for the tests").keep();
    let mut command = Command::new("/bin/sh");
    // A group of its own, so that what kills the tests' group does not kill the reaper with it.
    command.arg("-c").arg(SCRIPT).arg("reaper").arg(&directory).process_group(0).current_dir("/");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let pipe = child.expect("a shell").stdin.take().expect("its standard input is a pipe");
    Reaper { pipe: Mutex::new(pipe), directory }
});

/// A directory for some files of a test. Gone when the value is dropped, at the latest with the process.
pub(crate) fn directory(prefix: &str) -> TempDir {
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&REAPER.directory);
    made.expect("a temporary directory for a test")
}

/// Minds a process.
pub(crate) fn watch(id: u32) {
    tell("watch", id);
}

/// A process has ended; its id may come to mean another one.
pub(crate) fn forget(id: u32) {
    tell("forget", id);
}

fn tell(word: &str, id: u32) {
    let mut pipe = REAPER.pipe.lock().unwrap_or_else(PoisonError::into_inner);
    // One small write: the shell reads whole lines.
    let _ = pipe.write_all(format!("{word} {id}\n").as_bytes());
}
