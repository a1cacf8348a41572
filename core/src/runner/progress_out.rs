//! Ready receivers of progress: JSON lines and, with the feature `progress`, lines on a terminal.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::Progress;

/// Writes progress as JSON, one event a line. A line that cannot be written is left out: progress never ends a run.
///
/// ```
/// use transload_core::{Registry, Runner};
/// use transload_core::runner::JsonLines;
///
/// let lines = JsonLines::new(std::io::stderr());
/// let runner = Runner::new(Registry::new()).on_progress(move |progress| lines.write(progress));
/// ```
#[derive(Debug)]
pub struct JsonLines<W>(Mutex<W>);

impl<W: Write> JsonLines<W> {
    /// Writes to `out`, which should not block for long.
    pub fn new(out: W) -> Self {
        Self(Mutex::new(out))
    }

    /// Writes one event and flushes.
    pub fn write(&self, progress: &Progress) {
        let line = format!("{}\n", progress.to_json());
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

#[cfg(feature = "progress")]
pub use terminal::ProgressLine;

#[cfg(feature = "progress")]
mod terminal {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

    use super::super::{Phase, Progress};

    /// One line for each running job on standard error; silent where that is no terminal. When a job ends, its
    /// last line stays.
    ///
    /// ```
    /// use transload_core::{Registry, Runner};
    /// use transload_core::runner::ProgressLine;
    ///
    /// let line = ProgressLine::new();
    /// let runner = Runner::new(Registry::new()).on_progress(move |progress| line.show(progress));
    /// ```
    #[derive(Debug, Default)]
    pub struct ProgressLine {
        lines: MultiProgress,
        of_job: Mutex<BTreeMap<String, ProgressBar>>,
    }

    impl ProgressLine {
        /// Lines on standard error.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// Shows one event.
        pub fn show(&self, progress: &Progress) {
            if self.lines.is_hidden() {
                return;
            }
            let mut of_job = self.of_job.lock().unwrap_or_else(PoisonError::into_inner);
            let text = text(progress);
            if progress.phase == Phase::Done {
                if let Some(line) = of_job.remove(&progress.job) {
                    line.finish_and_clear();
                    self.lines.remove(&line);
                }
                // A terminal that went away is no reason to end a run.
                let _ = self.lines.println(text);
                return;
            }
            let line = of_job.entry(progress.job.clone()).or_insert_with(|| {
                let line = self.lines.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                    line.set_style(style);
                }
                // A phase without rows is still seen to be alive.
                line.enable_steady_tick(Duration::from_millis(200));
                line
            });
            line.set_message(text);
        }
    }

    fn text(progress: &Progress) -> String {
        let Progress {
            job,
            phase,
            status,
            rows_read,
            rows_written,
            rows_per_second,
            splits,
            seconds,
            range,
            ranges,
            eta_seconds,
            ..
        } = progress;
        let took = HumanDuration(Duration::from_secs_f64(seconds.max(0.0)));
        if let Some(status) = status {
            return format!("{job}: {} · {} rows · {took:#}", status.as_str(), HumanCount(*rows_written));
        }
        let mut text = format!("{job}: {}", phase.as_str());
        if *rows_read > 0 {
            text += &format!(" · {} rows · {rows_per_second:.0} rows/s", HumanCount(*rows_read));
        }
        if *ranges > 1 {
            text += &format!(" · range {range} of {ranges}");
        }
        if splits.total > 1 {
            text += &format!(" · {} of {} parts", splits.done, splits.total);
        }
        text += &format!(" · {took:#}");
        match eta_seconds {
            Some(left) => {
                text + &format!(" · {:#} left", HumanDuration(Duration::from_secs_f64(left.clamp(0.0, 1e9))))
            }
            None => text,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::runner::RunStatus;

        #[test]
        fn a_line_says_what_counts() {
            let mut progress = Progress::example();
            assert_eq!(text(&progress), "orders: load · 1,234,567 rows · 84321 rows/s · 1 of 4 parts · 12s");
            (progress.range, progress.ranges, progress.eta_seconds) = (3, 12, Some(95.0));
            let all =
                "orders: load · 1,234,567 rows · 84321 rows/s · range 3 of 12 · 1 of 4 parts · 12s · 2m left";
            assert_eq!(text(&progress), all);
            (progress.phase, progress.status) = (Phase::Done, Some(RunStatus::Succeeded));
            assert_eq!(text(&progress), "orders: succeeded · 1,200,000 rows · 12s");
            let line = ProgressLine::new();
            line.show(&progress);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Phase;

    #[test]
    fn each_event_is_one_line_of_json() {
        let lines = JsonLines::new(Vec::new());
        let mut progress = Progress { job: "two\nlines".to_owned(), ..Progress::example() };
        lines.write(&progress);
        progress.phase = Phase::Commit;
        lines.write(&progress);
        let text = String::from_utf8(lines.0.into_inner().unwrap()).unwrap();
        let events: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!((&events[0]["job"], &events[1]["phase"]), (&"two\nlines".into(), &"commit".into()));
        assert_eq!(events[0]["splits"], serde_json::json!({"total": 4, "active": 2, "done": 1}));
    }
}
