//! Tells the story: one line for each step, and the name of the step at which it went wrong.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Columns for what a step does.
const WHAT: usize = 50;
/// Columns for the RPC.
const RPC: usize = 38;

/// What a step gives: a value for the next steps, and the sentence that is shown.
pub(super) type Scene<T> = anyhow::Result<(T, String)>;

/// Where the story is told: standard output.
pub(super) struct Stage {
    act: u32,
    step: u32,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { act: 0, step: 0 }
    }

    /// The title.
    #[expect(clippy::unused_self, reason = "whoever tells the story does it on the stage")]
    pub(super) fn title(&self, text: &str) -> io::Result<()> {
        print(&format!("{text}\n{}\n", "─".repeat(text.chars().count())))
    }

    /// Anything else that is to be read.
    #[expect(clippy::unused_self, reason = "whoever tells the story does it on the stage")]
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        print(&format!("{text}\n"))
    }

    /// The headline of the next part.
    pub(super) fn act(&mut self, title: &str) -> io::Result<()> {
        self.act += 1;
        print(&format!("\n{}  {title}\n", self.act))
    }

    /// Plays one step and tells how it went. An error of `play` ends the story, with the step's name.
    pub(super) async fn step<T>(
        &mut self,
        what: &str,
        rpc: &str,
        play: impl Future<Output = Scene<T>>,
    ) -> anyhow::Result<T> {
        self.step += 1;
        match play.await {
            Ok((value, result)) => {
                print(&line('✓', what, rpc, &result))?;
                Ok(value)
            }
            Err(error) => {
                print(&line('✗', what, rpc, "not as it should be"))?;
                Err(error).with_context(|| format!("step {}, “{what}” ({rpc})", self.step))
            }
        }
    }
}

fn line(mark: char, what: &str, rpc: &str, result: &str) -> String {
    format!("   {mark} {what:<WHAT$} {rpc:<RPC$} {result}\n")
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_step_is_named() {
        let mut stage = Stage::new();
        let good = stage.step("Ada waves", "None/Wave", async { Ok((7, "well".to_owned())) }).await;
        assert_eq!(good.expect("a good step"), 7);
        let bad = stage.step("Ben waves", "None/Wave", async { anyhow::bail!("no hands") as Scene<()> }).await;
        let text = format!("{:#}", bad.expect_err("a bad step"));
        assert_eq!(text, "step 2, “Ben waves” (None/Wave): no hands");
    }

    #[test]
    fn columns_are_aligned() {
        let column = |text: &str| text.chars().position(|c| c == '|');
        assert_eq!(column(&line('✓', "Zoë does", "A/B", "|")), column(&line('✗', "Ben does it", "Longer/Rpc", "|")));
    }
}
