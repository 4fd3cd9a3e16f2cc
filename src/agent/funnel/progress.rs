//! How far one person has come: when each step was first reached, in event time.
//!
//! Only earliest times are kept, so any order of the same events ends in the same progress, and counting one again
//! changes nothing. Where a funnel begins anew, a late event of the run before is left alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// When a run of the funnel is over.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    /// So long after its first step, in milliseconds.
    pub within_ms: Option<i64>,
    /// After the last step, with the next event at an earlier one.
    pub restart: bool,
}

/// One person's progress. Times in milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::agent) struct Progress {
    /// Runs begun, the current one included.
    #[serde(default)]
    runs: u64,
    /// What is not after this belongs to an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier_until: Option<i64>,
    /// By step: when the current run first reached it. By name, so that it holds when steps come and go.
    #[serde(default)]
    entered: BTreeMap<String, i64>,
}

/// How the current run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// The furthest step (index) and when it was reached.
    pub furthest: Option<(usize, i64)>,
    /// When the first of the steps was reached.
    pub started_at: Option<i64>,
}

impl Progress {
    /// Counts an event at `at`; `holds` says whether a step's condition holds for it, and is asked only where that
    /// matters. Says whether anything changed.
    pub(super) fn count<N: AsRef<str>>(
        &mut self,
        steps: &[N],
        ends: Ends,
        at: i64,
        mut holds: impl FnMut(usize) -> bool,
    ) -> bool {
        if self.earlier_until.is_some_and(|until| at <= until) {
            return false;
        }
        let standing = self.standing(steps);
        if let (Some(started_at), Some(within_ms)) = (standing.started_at, ends.within_ms) {
            let over_at = started_at.saturating_add(within_ms);
            if at >= over_at {
                return self.begin(steps, at, over_at.saturating_sub(1), steps.len(), holds);
            }
            // It would begin before this run began, and the run would then not have reached its latest step in time.
            let latest = self.entered.values().copied().max().unwrap_or(at);
            if latest.saturating_sub(at) >= within_ms {
                return false;
            }
        }
        if ends.restart
            && let Some(completed_at) = self.completed_at(steps)
            && at > completed_at
            && !holds(steps.len() - 1)
        {
            return self.begin(steps, at, completed_at, steps.len() - 1, holds);
        }
        let mut changed = false;
        for (index, step) in steps.iter().enumerate() {
            let entered = self.entered.get_mut(step.as_ref());
            if entered.as_ref().is_some_and(|entered| **entered <= at) || !holds(index) {
                continue;
            }
            match entered {
                Some(entered) => *entered = at,
                None => {
                    self.entered.insert(step.as_ref().to_owned(), at);
                }
            }
            changed = true;
        }
        if changed && self.runs == 0 {
            self.runs = 1;
        }
        changed
    }

    /// Begins a run with the first `steps` whose condition holds; where none does, nothing changes.
    fn begin<N: AsRef<str>>(
        &mut self,
        steps: &[N],
        at: i64,
        earlier_until: i64,
        among: usize,
        mut holds: impl FnMut(usize) -> bool,
    ) -> bool {
        let reached: Vec<usize> = (0..among).filter(|index| holds(*index)).collect();
        if reached.is_empty() {
            return false;
        }
        self.runs = self.runs.saturating_add(1);
        self.earlier_until = Some(earlier_until);
        self.entered = reached.into_iter().map(|index| (steps[index].as_ref().to_owned(), at)).collect();
        true
    }

    /// How the current run stands.
    pub(super) fn standing<N: AsRef<str>>(&self, steps: &[N]) -> Standing {
        let entered = |(index, step): (usize, &N)| Some((index, *self.entered.get(step.as_ref())?));
        Standing {
            furthest: steps.iter().enumerate().rev().find_map(entered),
            started_at: steps.iter().enumerate().filter_map(entered).map(|(_, at)| at).min(),
        }
    }

    /// How the funnel stands for an event at `at`: a run that is over by then is not shown.
    pub(super) fn standing_at<N: AsRef<str>>(&self, steps: &[N], ends: Ends, at: i64) -> Standing {
        let standing = self.standing(steps);
        match (standing.started_at, ends.within_ms) {
            (Some(started_at), Some(within_ms)) if at >= started_at.saturating_add(within_ms) => Standing::default(),
            _ => standing,
        }
    }

    /// When the current run first reached a step.
    pub(super) fn entered_at(&self, step: &str) -> Option<i64> {
        self.entered.get(step).copied()
    }

    /// Runs begun, the current one included.
    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    fn completed_at<N: AsRef<str>>(&self, steps: &[N]) -> Option<i64> {
        self.entered_at(steps.last()?.as_ref())
    }
}
