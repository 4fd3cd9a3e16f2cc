//! The bounds of the state, and the credit's arithmetic over any history.

use proptest::prelude::*;

use super::*;

#[test]
fn a_hundred_thousand_touches_stay_within_bounds_and_first_and_last_stay_right() {
    let mut person = Person::new(AttributionModel::PositionBased);
    let mut history = History::default();
    let long = "\"\\".repeat(90);
    for number in 0..100_000_i64 {
        // Every second one as heavy as a link can make it.
        let heavy = if number % 2 == 0 { "" } else { &long };
        let query = format!("utm_source=s{}&utm_medium=cpc&utm_campaign=c{heavy}&utm_content={heavy}", number % 3);
        let record = person.record(number * 1000, &format!("https://a.example/?{query}&gclid=G{number}"), "");
        let touch = person.agent.0.touch(&record).unwrap();
        assert!(history.add(touch, 30 * DAY));
        if number % 999 == 0 {
            let bytes = serde_json::to_vec(&history).unwrap().len();
            assert!(bytes < MAX_STATE - 1024, "{bytes} bytes");
        }
    }
    // What is written says all of it.
    let written = format!(r#"{{"at":{{"tag":1,"offset":1}},"is":{}}}"#, serde_json::to_string(&history).unwrap());
    person.state = person.agent.decode(Some(written.as_bytes()));
    assert!(!person.state.is_unreadable);
    let part = person.visit(100_000_000, "", "").part;
    assert_eq!(all(&part, &["touches", "first_touch_at", "last_touch_at"]), "100000 0 99999000");
    assert_eq!(field(&part, "click_id"), "G99999", "the last has 40 %, and so has the first");
    let shares = share_sum(&part);
    assert!((shares - 1.0).abs() < 0.01, "{shares}");
}

/// The sum of the shares shown.
fn share_sum(part: &Part) -> f64 {
    let Value::List(credit) = part.field(14) else { panic!("{part:?}") };
    credit.iter().map(|text| text.as_str().unwrap().rsplit_once(':').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn linear_stays_honest_beyond_the_bound() {
    let mut person = Person::new(AttributionModel::Linear);
    let mut part = Part::default();
    for number in 0..1000_i64 {
        let source = if number < 750 { "a" } else { "b" };
        let url = format!("https://acme.example/?utm_source={source}&utm_medium=cpc&gclid={number}");
        part = person.visit(number, &url, "").part;
    }
    assert_eq!(field(&part, "credit"), "[a/cpc:0.75,b/cpc:0.25]");
}

#[test]
fn touches_that_are_only_counted_leave_the_window_too() {
    let mut person = Person::new(AttributionModel::Linear);
    let mut part = Part::default();
    // A hundred touches in every thirty days, for three years; one source in the first of them, another since.
    for number in 0..3_650_i64 {
        let source = if number < 1_200 { "old".to_owned() } else { format!("new{}", number % 4) };
        let url = format!("https://acme.example/?utm_source={source}&utm_medium=cpc&gclid={number}");
        part = person.visit(number * 30 * DAY / 100, &url, "").part;
    }
    let touches: u64 = field(&part, "touches").parse().unwrap();
    assert!((90..=115).contains(&touches), "{touches}");
    let credit = field(&part, "credit");
    assert!(!credit.contains("old"), "{credit}");
    assert!((share_sum(&part) - 1.0).abs() < 0.001, "{credit}");
}

#[test]
fn more_labels_than_a_list_names_are_one_entry() {
    let mut person = Person::new(AttributionModel::Linear);
    let mut part = Part::default();
    for number in 0..500_i64 {
        part = person.visit(number, &format!("https://acme.example/?utm_source=s{number}&gclid={number}"), "").part;
    }
    let Value::List(credit) = part.field(14) else { panic!("{part:?}") };
    assert!(credit.len() <= 21, "{}", credit.len());
    assert!((share_sum(&part) - 1.0).abs() < 0.01, "{credit:?}");
}

/// A way here, distinct by number unless direct.
fn way(number: u8) -> (String, String) {
    match number % 4 {
        0 => (PAGE.to_owned(), String::new()),
        1 => (format!("https://acme.example/?gclid=G{number}"), String::new()),
        2 => (format!("https://acme.example/?utm_source=s{number}"), String::new()),
        _ => (PAGE.to_owned(), format!("https://site{number}.example/")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_arrival_does_not_matter(ways in proptest::collection::vec(any::<u8>(), 1..12), seed in any::<u64>()) {
        let mut ways: Vec<u8> = ways;
        ways.dedup();
        let touches: Vec<(i64, u8)> = ways.iter().enumerate().map(|(at, way)| (at as i64 * 2 * 3_600_000, *way)).collect();
        let mut shuffled = touches.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let seen = |order: &[(i64, u8)]| {
            let mut person = Person::new(AttributionModel::PositionBased);
            for (at, number) in order {
                let (url, referrer) = way(*number);
                person.visit(*at, &url, &referrer);
            }
            person.visit(DAY, "", "").part
        };
        prop_assert_eq!(seen(&touches).fields, seen(&shuffled).fields);
    }

    #[test]
    fn shares_sum_to_one_and_a_direct_visit_changes_nothing(
        visits in proptest::collection::vec((0..29 * DAY, any::<u8>()), 1..80),
        model in 0..4_usize,
    ) {
        let model = [AttributionModel::First, AttributionModel::Last, AttributionModel::Linear, AttributionModel::PositionBased][model];
        let mut person = Person::new(model);
        let mut history = History::default();
        let list = Referrers::load(None).unwrap();
        for (at, number) in &visits {
            let (url, referrer) = way(*number);
            let params = Params::read(Some(&url), &std::collections::BTreeMap::new());
            if let Some(touch) = Touch::read(params, Some(&url), Some(&referrer), *at, &list) {
                history.add(touch, 30 * DAY);
            }
            person.visit(*at, &url, &referrer);
        }
        let told = history.told();
        prop_assert!(told.is_sorted_by_key(|(at, _)| *at));
        prop_assert!(told.len() <= history::MAX_TOUCHES);
        let credits = share(model, history.view(29 * DAY, 30 * DAY)).unwrap();
        let sum: f64 = credits.list().iter().map(|credit| credit.share).sum();
        prop_assert!((sum - 1.0).abs() < 1e-9, "{} {:?}", sum, credits);
        prop_assert!(credits.list().iter().all(|credit| credit.share > 0.0));
        let before = person.visit(29 * DAY, "", "").part;
        let direct = person.visit(29 * DAY, PAGE, "");
        prop_assert!(!direct.changed);
        prop_assert_eq!(direct.part, before);
    }
}
