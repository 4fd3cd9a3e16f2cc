//! The story that `make demo` tells: first trigger, warm cache, the CRM dies, comes back, and the reckoning. Pure: it is
//! told how much time has passed and what was counted, and says what to do and print.

use std::time::Duration;

use super::counted::{Counted, clock, percent};

/// When things happen, from the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    pub warm: Duration,
    pub dies: Duration,
    /// Just before `back`: how the outage went.
    pub outage: Duration,
    pub back: Duration,
    /// Just before `end`: how the recovery went.
    pub recovery: Duration,
    pub end: Duration,
}

impl Default for Timeline {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Timeline {
            warm: ms(8_000),
            dies: ms(10_000),
            outage: ms(14_900),
            back: ms(15_000),
            recovery: ms(19_800),
            end: ms(20_000),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cue {
    /// Print this as it is; it brings its own line end, or none where the line goes on.
    Say(String),
    CrmDies,
    CrmIsBack,
    /// Stop the traffic, let the stages empty, count, say [`line`](super::counted::Reckoning::line).
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Opening,
    Warm,
    Outage,
    OutageTold,
    Back,
    Over,
}

/// Tells the story once.
#[derive(Debug)]
pub struct Story {
    timeline: Timeline,
    act: Act,
    first_told: bool,
    /// As counted when the current act began.
    before: Counted,
}

impl Story {
    /// A story that has not begun.
    pub fn new(timeline: Timeline) -> Self {
        Story { timeline, act: Act::Opening, first_told: false, before: Counted::default() }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.act == Act::Over
    }

    /// What is due, `elapsed` after the first event. Call it a few times a second.
    pub fn cues(&mut self, elapsed: Duration, counted: &Counted) -> Vec<Cue> {
        let mut cues = Vec::new();
        if !self.first_told
            && let Some(first) = &counted.first_trigger
            && self.act != Act::Outage
        {
            self.first_told = true;
            cues.push(Cue::Say(first.line(elapsed)));
        }
        // As many acts as are due: a machine that stalls must not skip one.
        while let Some(at) = self.next_at().filter(|at| elapsed >= *at) {
            self.turn(at, counted, &mut cues);
        }
        cues
    }

    fn next_at(&self) -> Option<Duration> {
        match self.act {
            Act::Opening => Some(self.timeline.warm),
            Act::Warm => Some(self.timeline.dies),
            Act::Outage => Some(self.timeline.outage),
            Act::OutageTold => Some(self.timeline.back),
            Act::Back => Some(self.timeline.recovery),
            Act::Over => None,
        }
    }

    fn turn(&mut self, at: Duration, counted: &Counted, cues: &mut Vec<Cue>) {
        let delta = counted.since(&self.before);
        let p99 = counted.p99_ms.map_or_else(|| "no trigger yet".to_owned(), |ms| format!("p99 event→trigger {ms} ms"));
        match self.act {
            Act::Opening => {
                let hit = percent(counted.cache_hits, counted.crm());
                cues.push(Cue::Say(format!("{}  CRM warm        hit {hit} %   {p99}\n", clock(at))));
                self.act = Act::Warm;
            }
            Act::Warm => {
                cues.push(Cue::CrmDies);
                cues.push(Cue::Say(format!("{}  now the CRM dies …   ", clock(at))));
                self.act = Act::Outage;
            }
            Act::Outage => {
                cues.push(Cue::Say(format!("{}\n", delta.outage(counted))));
                self.act = Act::OutageTold;
            }
            Act::OutageTold => {
                cues.push(Cue::CrmIsBack);
                self.act = Act::Back;
            }
            Act::Back => {
                let breaker = match (counted.breaker_closed, delta.probes) {
                    (true, 1) => "breaker closed after 1 probe".to_owned(),
                    (true, probes) => format!("breaker closed after {probes} probes"),
                    (false, _) => "breaker still open".to_owned(),
                };
                let fresh = percent(delta.crm_ok, delta.crm());
                cues.push(Cue::Say(format!(
                    "{}  the CRM is back      {breaker}, fresh {fresh} %\n",
                    clock(self.timeline.back)
                )));
                cues.push(Cue::End);
                self.act = Act::Over;
            }
            Act::Over => {}
        }
        self.before = counted.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::counted::{FirstTrigger, Reckoning};

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn said(cues: Vec<Cue>) -> String {
        cues.into_iter()
            .map(|cue| match cue {
                Cue::Say(text) => text,
                Cue::CrmDies => "[dies]".to_owned(),
                Cue::CrmIsBack => "[back]".to_owned(),
                Cue::End => "[end]".to_owned(),
            })
            .collect()
    }

    #[test]
    fn the_story_reads_as_it_should() {
        let mut story = Story::new(Timeline::default());
        let mut counted = Counted::default();
        let mut told = said(story.cues(at(1.0), &counted));
        counted.first_trigger = Some(FirstTrigger {
            campaign: "win-back".into(),
            who: "u_1842".into(),
            age_ms: 38,
            facts: vec!["crm enterprise (live)".into(), "geo GB".into(), "score 72".into()],
        });
        told += &said(story.cues(at(3.1), &counted));
        told += &said(story.cues(at(3.2), &counted));
        counted = Counted {
            records: 4_000,
            crm_ok: 3_900,
            cache_hits: 3_770,
            crm_failed: 100,
            partial: 100,
            p99_ms: Some(19),
            breaker_closed: true,
            ..counted
        };
        told += &said(story.cues(at(8.05), &counted));
        told += &said(story.cues(at(10.0), &counted));
        counted = Counted {
            records: 6_500,
            crm_stale: 2_325,
            crm_failed: 275,
            partial: 275,
            oldest_ms: 12_400,
            p99_ms: Some(21),
            breaker_closed: false,
            ..counted
        };
        told += &said(story.cues(at(14.95), &counted));
        told += &said(story.cues(at(15.0), &counted));
        counted =
            Counted { records: 9_000, crm_ok: 6_375, crm_stale: 2_345, probes: 1, breaker_closed: true, ..counted };
        told += &said(story.cues(at(19.9), &counted));
        assert!(story.is_over());
        let reckoning = Reckoning { events: 9_987, triggers: 412, delivered: 412, lost: 0, twice: 0 };
        told += &reckoning.line(at(20.0));
        assert_eq!(
            told,
            " 0:03  first trigger   win-back → u_1842   click 38 ms ago   crm enterprise (live) · geo GB · score 72
 0:08  CRM warm        hit 94 %   p99 event→trigger 19 ms
[dies] 0:10  now the CRM dies …   events still flow: p99 21 ms, crm_lookup stale 93 % (oldest 12 s), partial 7 %
[back] 0:15  the CRM is back      breaker closed after 1 probe, fresh 99 %
[end] 0:20  9,987 events · 412 triggers · 412 delivered · 0 lost · 0 twice (counted in the topics)
"
        );
        assert!(reckoning.passed());
    }

    #[test]
    fn a_stall_skips_no_act() {
        let mut story = Story::new(Timeline::default());
        let cues = story.cues(at(60.0), &Counted::default());
        let told = said(cues);
        for part in ["CRM warm", "[dies]", "no event came through!", "[back]", "breaker still open", "[end]"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(story.cues(at(61.0), &Counted::default()).is_empty());
    }
}
