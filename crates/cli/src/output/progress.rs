//! Bars on standard error, where that is a terminal; nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Fewer bytes are sent before a bar could be read.
const WORTH_A_BAR: u64 = 512 * 1024;

/// A bar of bytes.
pub(crate) fn bytes(total: u64) -> ProgressBar {
    if total < WORTH_A_BAR {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let look = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(look).expect("the template is fixed and tested"));
    bar
}

/// A bar of things that are done one by one.
pub(crate) fn count(total: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let look = "{bar:30} {pos}/{len} {msg} {elapsed}";
    bar.set_style(ProgressStyle::with_template(look).expect("the template is fixed and tested"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A line that says how far something has come whose end is not known.
pub(crate) fn line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_are_templates() {
        super::bytes(1 << 20).finish_and_clear();
        super::count(1, "tasks").finish_and_clear();
    }
}
