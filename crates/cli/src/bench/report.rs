//! What the benchmark found, as a table and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where it was measured.
    pub(super) machine: Machine,
    /// Whether the store flushed every acknowledged task to the disk.
    pub(super) fsync: bool,
    /// The figures, in the order they were measured.
    pub(super) figures: Vec<Figure>,
}

/// Where something was measured.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processors: usize,
    pub(super) model: String,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
}

impl Machine {
    /// This machine, by what the kernel tells.
    pub(super) fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let kib = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            model: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: kib.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0).div_ceil(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// One thing measured, beside the bare limit of the machine in the same run.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: String,
    /// Of `windlass` and `bare`.
    pub(super) unit: &'static str,
    /// The median of the runs.
    pub(super) windlass: f64,
    /// What the figure is compared to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bare: Option<Bare>,
    /// `windlass / bare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
    /// What it should be, and whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
}

/// The limit that a figure is compared to.
#[derive(Debug, Serialize)]
pub(super) struct Bare {
    pub(super) name: String,
    pub(super) value: f64,
}

/// What a figure should be.
#[derive(Debug, Serialize)]
pub(super) struct Goal {
    pub(super) text: String,
    pub(super) reached: bool,
}

impl Figure {
    /// `windlass` in `unit`, compared to nothing yet.
    pub(super) fn new(name: impl Into<String>, windlass: f64, unit: &'static str) -> Self {
        Self { name: name.into(), unit, windlass, bare: None, ratio: None, goal: None }
    }

    /// The same beside the limit `name`.
    pub(super) fn beside(mut self, name: impl Into<String>, value: f64) -> Self {
        self.bare = Some(Bare { name: name.into(), value });
        self.ratio = Some(self.windlass / value);
        self
    }

    /// The ratio should be at least `least`.
    pub(super) fn ratio_of_at_least(mut self, least: f64) -> Self {
        let reached = self.ratio.is_some_and(|ratio| ratio >= least);
        self.goal = Some(Goal { text: format!("at least {least} of it"), reached });
        self
    }

    /// The ratio should be at most `most`.
    pub(super) fn ratio_of_at_most(mut self, most: f64) -> Self {
        let reached = self.ratio.is_some_and(|ratio| ratio <= most);
        self.goal = Some(Goal { text: format!("at most {most} of it"), reached });
        self
    }

    /// The figure itself should be at least `least`.
    pub(super) fn at_least(mut self, least: f64) -> Self {
        let reached = self.windlass >= least;
        self.goal = Some(Goal { text: format!("at least {}", number(least)), reached });
        self
    }

    /// The figure itself should be at most `most`.
    pub(super) fn at_most(mut self, most: f64) -> Self {
        let reached = self.windlass <= most;
        self.goal = Some(Goal { text: format!("at most {}", number(most)), reached });
        self
    }
}

/// The report as a table for people.
pub(super) fn table(report: &Report) -> String {
    let Machine { processors, model, memory_gib, kernel } = &report.machine;
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(["", "Windlass", "unit", "beside", "ratio", "goal"]);
    for figure in &report.figures {
        table.add_row([
            figure.name.clone(),
            number(figure.windlass),
            figure.unit.to_owned(),
            figure.bare.as_ref().map(|b| format!("{} ({})", number(b.value), b.name)).unwrap_or_default(),
            figure.ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
            figure
                .goal
                .as_ref()
                .map(|g| format!("{} {}", if g.reached { "✓" } else { "✗" }, g.text))
                .unwrap_or_default(),
        ]);
    }
    for column in [1, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let fsync = if report.fsync {
        "every acknowledged task is flushed to the disk"
    } else {
        "NOT flushed to the disk"
    };
    format!("{processors} x {model}, {memory_gib} GiB, Linux {kernel}; {fsync}; medians\n{table}")
}

fn number(n: f64) -> String {
    match n.abs() {
        n if n >= 1000.0 => {
            let digits = format!("{n:.0}");
            let groups = digits.as_bytes().rchunks(3).rev().map(|g| String::from_utf8_lossy(g).into_owned());
            groups.collect::<Vec<_>>().join(",")
        }
        n if n >= 100.0 => format!("{n:.0}"),
        n if n >= 10.0 => format!("{n:.1}"),
        _ => format!("{n:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([1234567.0, 123.4, 12.34, 0.5].map(number), ["1,234,567", "123", "12.3", "0.50"]);
    }

    #[test]
    fn a_goal_is_reached_or_not() {
        let figure = Figure::new("posts", 60.0, "tasks/s").beside("handler", 100.0);
        assert!(figure.ratio_of_at_least(0.5).goal.unwrap().reached);
        assert!(!Figure::new("rss", 200.0, "MB").at_most(150.0).goal.unwrap().reached);
    }
}
