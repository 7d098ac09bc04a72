//! Kills the programs a test has started when the test process itself was killed and could not do so.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{ChildStdin, Command, Stdio},
    sync::{LazyLock, Mutex},
};

/// Reads which processes to mind until the pipe closes, as it does whenever the test process ends, and kills the rest.
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
"#;

static REAPER: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    let mut command = Command::new("/bin/sh");
    // A group of its own, so that what kills the tests' group does not kill the reaper with it.
    command
        .arg("-c")
        .arg(SCRIPT)
        .process_group(0)
        .current_dir("/");
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Mutex::new(
        child
            .expect("a shell")
            .stdin
            .take()
            .expect("its standard input is a pipe"),
    )
});

/// Minds a process.
pub(crate) fn watch(id: u32) {
    tell("watch", id);
}

/// A process has ended; its id may come to mean another one.
pub(crate) fn forget(id: u32) {
    tell("forget", id);
}

fn tell(word: &str, id: u32) {
    let mut pipe = REAPER
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // One small write: the shell reads whole lines.
    let _ = pipe.write_all(format!("{word} {id}\n").as_bytes());
}
