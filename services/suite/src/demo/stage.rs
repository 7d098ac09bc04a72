//! Tells the story: one line for each step, what it proves of a guide, and the name of the step at which it went wrong.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
};

use anyhow::Context as _;

use super::checklist::{Checklist, Shown};

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
    /// What the guide says that is played, if one is.
    checklist: Option<Checklist>,
    /// Which of its sentences the next step shows.
    proving: Vec<u32>,
    shown: BTreeSet<Shown>,
    /// What the suite that plays cannot show.
    left_out: BTreeSet<Shown>,
}

impl Stage {
    /// A stage for a story, or for the guide that says what stands in `checklist`.
    pub(super) fn new(checklist: Option<Checklist>) -> Self {
        let (shown, left_out) = (BTreeSet::new(), BTreeSet::new());
        Self { act: 0, step: 0, checklist, proving: Vec::new(), shown, left_out }
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

    /// Says that the next step shows these sentences of the guide.
    pub(super) fn proving(&mut self, numbers: &[u32]) -> &mut Self {
        self.proving = numbers.to_vec();
        self
    }

    /// Says that this suite cannot play a step, which would show these sentences, too: other steps have to show each of them.
    pub(super) fn leave_out(&mut self, what: &str, numbers: &[u32]) {
        self.left_out.extend(numbers.iter().map(|number| (*number, what.to_owned())));
    }

    /// Plays one step and tells how it went. An error of `play` ends the story, with the step's name.
    pub(super) async fn step<T>(
        &mut self,
        what: &str,
        rpc: &str,
        play: impl Future<Output = Scene<T>>,
    ) -> anyhow::Result<T> {
        self.step += 1;
        let proving = std::mem::take(&mut self.proving);
        match play.await {
            Ok((value, result)) => {
                print(&line('✓', what, rpc, &result))?;
                self.proven(what, &proving)?;
                Ok(value)
            }
            Err(error) => {
                print(&line('✗', what, rpc, "not as it should be"))?;
                Err(error).with_context(|| format!("step {}, “{what}” ({rpc})", self.step))
            }
        }
    }

    fn proven(&mut self, what: &str, numbers: &[u32]) -> anyhow::Result<()> {
        for number in numbers {
            let list = self.checklist.as_ref().context("a story proves nothing of a guide")?;
            print(&format!("       {number:>3}  {}\n", list.quotation(*number)?))?;
            self.shown.insert((*number, what.to_owned()));
        }
        Ok(())
    }

    /// Ends a guide: tells what it says that was not shown. Errs unless every sentence that has steps was shown by just
    /// those, but for what was left out; no sentence is left out altogether.
    pub(super) fn conclude(&self) -> anyhow::Result<()> {
        let list = self.checklist.as_ref().context("a story has no checklist")?;
        let unshown = self.left_out.iter().find(|(number, _)| self.shown.iter().all(|(it, _)| it != number));
        if let Some((number, step)) = unshown {
            anyhow::bail!("{number}: nothing but “{step}” shows it, and that was left out");
        }
        let differences = list.differences(&self.shown.union(&self.left_out).cloned().collect());
        anyhow::ensure!(differences.is_empty(), "the checklist and the steps differ:\n{}", differences.join("\n"));
        let (all, shown) = list.counts();
        print(&format!(
            "\nOf {all} sentences about what the product does, {shown} were shown, each by the step above it.\n"
        ))?;
        for (number, quotation, waits_for) in list.waiting() {
            print(&format!("   – {number:>3}  {quotation} waits for {waits_for}\n"))?;
        }
        Ok(())
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

    async fn wave(stage: &mut Stage, who: &str) -> anyhow::Result<i32> {
        stage.step(&format!("{who} waves"), "None/Wave", async { Ok((7, "well".to_owned())) }).await
    }

    #[tokio::test]
    async fn a_failed_step_is_named() {
        let mut stage = Stage::new(None);
        assert_eq!(wave(&mut stage, "Ada").await.expect("a good step"), 7);
        let bad = stage.step("Ben waves", "None/Wave", async { anyhow::bail!("no hands") as Scene<()> }).await;
        let text = format!("{:#}", bad.expect_err("a bad step"));
        assert_eq!(text, "step 2, “Ben waves” (None/Wave): no hands");
    }

    #[tokio::test]
    async fn a_guide_ends_well_only_when_each_sentence_was_shown() {
        let list = || Checklist::read("| 1 | “they wave” | `Ada waves` |\n| 2 | “they fly” | wings |").ok();
        let mut stage = Stage::new(list());
        assert!(stage.conclude().is_err(), "nothing was shown");
        wave(stage.proving(&[1]), "Ada").await.expect("shown");
        stage.conclude().expect("everything was shown");
        wave(&mut stage, "Ben").await.expect("proves nothing");
        stage.conclude().expect("everything was shown");
        wave(stage.proving(&[2]), "Ben").await.expect("shown");
        assert!(stage.conclude().is_err(), "the table says that it waits");
        assert!(wave(Stage::new(list()).proving(&[3]), "Ada").await.is_err(), "there is no such sentence");
    }

    #[tokio::test]
    async fn what_a_suite_cannot_show_is_left_out_of_no_sentence_altogether() {
        let list = || Checklist::read("| 1 | “they wave” | `Ada waves`, `a month later` |").ok();
        let mut stage = Stage::new(list());
        stage.leave_out("a month later", &[1]);
        assert!(stage.conclude().is_err(), "nothing was shown");
        wave(stage.proving(&[1]), "Ada").await.expect("shown");
        stage.conclude().expect("shown by the other step");
        stage.leave_out("a year later", &[1]);
        assert!(stage.conclude().is_err(), "the table does not name it");
    }

    #[test]
    fn columns_are_aligned() {
        let column = |text: &str| text.chars().position(|c| c == '|');
        assert_eq!(column(&line('✓', "Zoë does", "A/B", "|")), column(&line('✗', "Ben does it", "Longer/Rpc", "|")));
    }
}
