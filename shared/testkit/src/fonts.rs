//! Fonts for scripts that the programs have no letters for themselves.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder with the image's fonts, as `scripts/fonts.sh` has found or fetched them: `BURSAR_TEST_FONTS`. `None` where it could
/// not: said aloud, once in a program, with `what` is then not looked at.
pub fn fonts_of_the_image(what: &str) -> Option<PathBuf> {
    static SAID: OnceLock<()> = OnceLock::new();
    let folder = std::env::var_os("BURSAR_TEST_FONTS").filter(|it| !it.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        SAID.get_or_init(|| {
            // Written directly: the test runner hides what a passing test prints with `eprintln!`.
            let _ = writeln!(
                std::io::stderr(),
                "\nWARNING: {what} were not looked at. BURSAR_TEST_FONTS names no folder of fonts: \
                 scripts/fonts.sh fetches them, or says why it cannot\n"
            );
        });
    }
    folder
}
