use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;
const RULES: Rules = Rules { gap_ms: 30 * MINUTE, lateness_ms: 30 * MINUTE, midnight: false, campaign: false };

/// An event at that minute.
fn count(visits: &mut Visits, rules: &Rules, minute: i64) -> Option<Counted> {
    let url: Arc<str> = format!("/{minute}").into();
    let seen = Seen { at: minute * MINUTE, is_page: minute % 2 == 0, url: Some(&url), campaign: Campaign::default() };
    visits.count(rules, &seen, || format!("born {minute}").into())
}

/// First and last minute, and events, of each open visit.
fn spans(visits: &Visits) -> Vec<(i64, i64, u64)> {
    visits.open.iter().map(|visit| (visit.start / MINUTE, visit.end / MINUTE, visit.events)).collect()
}

fn after(rules: &Rules, minutes: &[i64]) -> Visits {
    let mut visits = Visits::default();
    for minute in minutes {
        count(&mut visits, rules, *minute);
    }
    visits
}

#[test]
fn a_gap_begins_a_visit_and_less_does_not() {
    let mut visits = Visits::default();
    assert_eq!(count(&mut visits, &RULES, 0), Some(Counted { index: 0, is_new: true }));
    assert_eq!(count(&mut visits, &RULES, 30), Some(Counted { index: 0, is_new: false }), "the gap itself still joins");
    assert_eq!(count(&mut visits, &RULES, 61), Some(Counted { index: 1, is_new: true }));
    assert_eq!(spans(&visits), [(0, 30, 2), (61, 61, 1)]);
    assert_eq!((visits.number(1), visits.away_ms(1), visits.away_ms(0)), (2, Some(31 * MINUTE), None));
    let counted = count(&mut visits, &RULES, 500).unwrap();
    assert_eq!((counted.index, visits.number(0), visits.away_ms(0)), (0, 3, Some(439 * MINUTE)), "old ones are let go");
}

#[test]
fn a_late_event_joins_its_visit_or_moves_a_beginning() {
    let rules = Rules { lateness_ms: 40 * MINUTE, ..RULES };
    let mut visits = after(&rules, &[0, 10, 50]);
    assert_eq!(count(&mut visits, &rules, 9), None, "later than allowed");
    assert_eq!(count(&mut visits, &rules, 10), Some(Counted { index: 0, is_new: false }));
    assert_eq!(spans(&visits), [(0, 10, 3), (50, 50, 1)]);
    let mut visits = after(&rules, &[0, 50]);
    assert_eq!(count(&mut visits, &rules, 45), Some(Counted { index: 1, is_new: false }));
    assert_eq!(spans(&visits), [(0, 0, 1), (45, 50, 2)]);
    assert_eq!(&*visits.visit(1).unwrap().id.0, "born 50", "an id that was told stays");
    assert_eq!(visits.visit(1).unwrap().entry.as_ref().unwrap().url.0.as_ref(), "/45");
}

#[test]
fn a_late_event_between_two_makes_them_one_under_the_first_id() {
    let rules = Rules { lateness_ms: 60 * MINUTE, ..RULES };
    let mut visits = after(&rules, &[0, 10, 50, 55]);
    assert_eq!(spans(&visits), [(0, 10, 2), (50, 55, 2)]);
    assert_eq!(count(&mut visits, &rules, 30), Some(Counted { index: 0, is_new: false }));
    assert_eq!(spans(&visits), [(0, 55, 5)]);
    let visit = visits.visit(0).unwrap();
    assert_eq!((&*visit.id.0, visit.absorbed.as_ref().map(|id| &*id.0)), ("born 0", Some("born 50")));
    let url = |page: &Option<Page>| page.as_ref().unwrap().url.0.to_string();
    assert_eq!((url(&visit.entry), url(&visit.exit)), ("/0".to_owned(), "/55".to_owned()));
}

#[test]
fn a_late_event_far_from_both_is_a_visit_of_its_own() {
    let rules = Rules { lateness_ms: 200 * MINUTE, ..RULES };
    let mut visits = after(&rules, &[0, 100]);
    assert_eq!(count(&mut visits, &rules, 50), Some(Counted { index: 1, is_new: true }));
    assert_eq!(spans(&visits), [(0, 0, 1), (50, 50, 1), (100, 100, 1)]);
    assert_eq!((visits.number(1), visits.number(2)), (2, 3), "the numbers of later visits follow");
}

#[test]
fn midnight_ends_a_visit_where_asked() {
    let day = 24 * 60;
    let rules = Rules { midnight: true, ..RULES };
    assert_eq!(spans(&after(&rules, &[day - 2, day - 1, day])), [(day - 2, day - 1, 2), (day, day, 1)]);
    assert_eq!(spans(&after(&RULES, &[day - 2, day - 1, day])), [(day - 2, day, 3)]);
    assert_eq!(spans(&after(&rules, &[-1, 0])), [(-1, -1, 1), (0, 0, 1)], "before 1970 too");
}

#[test]
fn more_visits_than_are_kept_let_the_oldest_go() {
    let rules = Rules { lateness_ms: i64::MAX, ..RULES };
    let minutes: Vec<i64> = (0..20).map(|visit| visit * 31).collect();
    let mut visits = after(&rules, &minutes);
    assert_eq!(visits.open.len(), MAX_OPEN);
    assert_eq!((visits.number(0), visits.away_ms(0)), (13, Some(31 * MINUTE)));
    let kept = visits.clone();
    assert_eq!(count(&mut visits, &rules, 5), None, "its visit is over");
    assert_eq!(count(&mut visits, &rules, 12 * 31 - 1), None, "it cannot be told from the one let go");
    assert_eq!(visits, kept);
    assert!(count(&mut visits, &rules, 12 * 31).is_some());
}

#[test]
fn a_full_list_takes_no_visit_before_its_first() {
    let rules = Rules { lateness_ms: i64::MAX, ..RULES };
    let minutes: Vec<i64> = (1..=MAX_OPEN as i64).map(|visit| visit * 100).collect();
    let mut visits = after(&rules, &minutes);
    assert_eq!(count(&mut visits, &rules, 0), None);
    assert_eq!(count(&mut visits, &rules, 150), Some(Counted { index: 0, is_new: true }), "the first made room");
    assert_eq!((visits.open.len(), visits.number(0)), (MAX_OPEN, 2));
}

fn campaign(url: &str) -> Campaign {
    Campaign::of(&crate::event::Event { url: Some(url.into()), ..Default::default() })
}

#[test]
fn another_campaign_begins_a_visit_and_none_does_not() {
    let rules = Rules { campaign: true, ..RULES };
    let mut visits = Visits::default();
    let mut at = |minute: i64, url: &str| {
        let seen = Seen { at: minute * MINUTE, is_page: true, url: None, campaign: campaign(url) };
        visits.count(&rules, &seen, || url.into()).map(|counted| (visits.number(counted.index), counted.is_new))
    };
    assert_eq!(at(0, "/"), Some((1, true)));
    assert_eq!(at(1, "/?gclid=a"), Some((2, true)), "a direct visit, then an advertisement");
    assert_eq!(at(2, "/pricing"), Some((2, false)));
    assert_eq!(at(3, "/?gclid=a"), Some((2, false)), "the page again");
    assert_eq!(at(3, "/?gclid=b"), Some((3, true)), "in the same millisecond");
    assert_eq!(at(2, "/?gclid=c"), Some((2, false)), "in the middle of a visit nothing is parted");
    assert_eq!(at(0, "/?gclid=a"), Some((2, false)), "it is where that visit began");
    assert_eq!(at(-1, "/"), Some((1, false)));
}

/// The visits of the same events in order.
fn in_order(minutes: &[i64], rules: &Rules) -> Vec<(i64, i64, u64)> {
    let mut sorted = minutes.to_vec();
    sorted.sort_unstable();
    let mut spans: Vec<(i64, i64, u64)> = Vec::new();
    let day = |minute: i64| minute.div_euclid(24 * 60);
    for minute in sorted {
        match spans.last_mut() {
            Some((_, end, events))
                if (minute - *end) * MINUTE <= rules.gap_ms && (!rules.midnight || day(*end) == day(minute)) =>
            {
                (*end, *events) = (minute, *events + 1);
            }
            _ => spans.push((minute, minute, 1)),
        }
    }
    spans
}

proptest! {
    #[test]
    fn any_order_within_the_lateness_ends_in_the_same_visits(
        minutes in prop::collection::vec((0i64..3_000, 0i64..90), 1..120),
        midnight: bool,
    ) {
        let rules = Rules { lateness_ms: 90 * MINUTE, midnight, ..RULES };
        let mut arrivals = minutes;
        arrivals.sort_by_key(|(minute, late)| minute + late);
        let minutes: Vec<i64> = arrivals.iter().map(|(minute, _)| *minute).collect();
        let visits = after(&rules, &minutes);
        let expected = in_order(&minutes, &rules);
        prop_assert_eq!(visits.before as usize + visits.open.len(), expected.len());
        prop_assert_eq!(spans(&visits), &expected[visits.before as usize..]);
        for visit in &visits.open {
            let within = |minute: &&i64| (visit.start..=visit.end).contains(&(**minute * MINUTE));
            prop_assert_eq!(visit.pages as usize, minutes.iter().filter(within).filter(|minute| **minute % 2 == 0).count());
            let url = |minute: i64| format!("/{}", minute / MINUTE);
            prop_assert_eq!(visit.entry.as_ref().unwrap().url.0.to_string(), url(visit.start));
            prop_assert_eq!(visit.exit.as_ref().unwrap().url.0.to_string(), url(visit.end));
        }
    }

    #[test]
    fn whatever_comes_visits_stay_apart_in_order_and_few(
        events in prop::collection::vec((prop_oneof![-5_000_000i64..5_000_000, any::<i64>()], 0usize..4), 1..200),
        lateness_ms in 0i64..100_000_000,
        midnight: bool,
    ) {
        let rules = Rules { gap_ms: 100_000, lateness_ms, midnight, campaign: true };
        let campaigns = ["/", "/?gclid=a", "/?gclid=b", "/?utm_source=x&gclid=a"].map(campaign);
        let mut visits = Visits::default();
        let mut counted = 0;
        for (index, (at, which)) in events.into_iter().enumerate() {
            let seen = Seen { at, is_page: false, url: None, campaign: campaigns[which] };
            let before = visits.clone();
            match visits.count(&rules, &seen, || index.to_string().into()) {
                Some(found) => {
                    counted += 1;
                    let visit = visits.visit(found.index).unwrap();
                    prop_assert!(visit.start <= at && at <= visit.end, "{visit:?} {at}");
                    prop_assert_eq!(found.is_new, visit.events == 1);
                    prop_assert!(visits.number(found.index) >= 1 && visits.away_ms(found.index).is_none_or(|away| away >= 0));
                }
                None => prop_assert_eq!(&before, &visits),
            }
            prop_assert!((1..=MAX_OPEN).contains(&visits.open.len()));
            prop_assert!(visits.open.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(visits.open.iter().all(|visit| visit.start <= visit.end && visit.events >= 1));
            prop_assert!(visits.open.iter().map(|visit| visit.events).sum::<u64>() <= counted);
        }
        let written = serde_json::to_vec(&visits).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Visits>(&written).unwrap(), visits);
    }
}
