//! Who gets the credit: first, last, linear and position-based shares over a person's touches.
//!
//! Position-based as Google Analytics defined it: 40 % to the first, 40 % to the last, 20 % among those between; two
//! touches share half and half. Shares of one label are added up; together they are 1.

use std::cmp::Reverse;

use crate::topology::AttributionModel;

use super::{
    history::View,
    touch::{Label, Touch},
};

/// Labels named in a list; the others are one entry.
const MAX_ENTRIES: usize = 20;
/// The label of whatever is not named.
const OTHER: &str = "other";

/// The credit of one label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Credit<'h> {
    label: Named<'h>,
    pub share: f64,
    /// The label's newest touch; `None` where all of its touches are only counted.
    newest: Option<usize>,
}

/// A label of a touch, or as it was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Named<'h> {
    Of(Label<'h>),
    Text(&'h str),
}

impl Named<'_> {
    fn is(&self, text: &str) -> bool {
        match self {
            Named::Of(label) => label.text() == text,
            Named::Text(own) => *own == text,
        }
    }

    /// `google/cpc/spring:0.4`, the share with up to four decimals.
    fn with(&self, share: f64) -> String {
        let share = format!("{share:.4}");
        let share = share.trim_end_matches('0').trim_end_matches('.');
        match self {
            Named::Of(label) => format!("{}:{share}", label.text()),
            Named::Text(text) => format!("{text}:{share}"),
        }
    }
}

/// How the credit for an event is shared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Credits<'h> {
    /// The newest touch of the label with the most credit; of several, the newer one.
    pub winner: &'h Touch,
    /// The greatest share first.
    list: Vec<Credit<'h>>,
}

/// Shares the credit; `None` where there is no touch.
pub(super) fn share<'h>(model: AttributionModel, view: View<'h>) -> Option<Credits<'h>> {
    let (first, last) = (view.touches.first()?, view.touches.last()?);
    let whole = |winner: &'h Touch| Credits {
        winner,
        list: vec![Credit { label: Named::Of(winner.label()), share: 1.0, newest: Some(0) }],
    };
    match model {
        AttributionModel::First => return Some(whole(first)),
        AttributionModel::Last => return Some(whole(last)),
        _ if view.count() == 1 => return Some(whole(last)),
        AttributionModel::Linear | AttributionModel::PositionBased => {}
    }
    let weights = Weights::new(model, view);
    let mut list: Vec<Credit> = Vec::new();
    for (index, touch) in view.touches.iter().enumerate() {
        let (label, share) = (Named::Of(touch.label()), weights.of(index));
        match list.iter_mut().find(|known| known.label == label) {
            Some(known) => {
                known.share += share;
                known.newest = Some(index);
            }
            None => list.push(Credit { label, share, newest: Some(index) }),
        }
    }
    if let Some(beyond) = view.beyond {
        let named: u64 = beyond.by_label.iter().map(|(_, count)| count).sum();
        let others = (OTHER, beyond.count.saturating_sub(named));
        let counted = beyond.by_label.iter().map(|(label, count)| (&**label, *count));
        for (text, count) in counted.chain([others]).filter(|(_, count)| *count > 0) {
            let share = weights.between * count as f64;
            match list.iter_mut().find(|known| known.label.is(text)) {
                Some(known) => known.share += share,
                None => list.push(Credit { label: Named::Text(text), share, newest: None }),
            }
        }
    }
    // Sums of equal shares may differ in their last digits. Labels that are only counted keep their order.
    list.sort_by_key(|credit| Reverse(((credit.share * 1e9).round() as i64, credit.newest)));
    let winner = list.iter().find_map(|credit| credit.newest).map_or(last, |index| &view.touches[index]);
    Some(Credits { winner, list })
}

/// What a touch gets by its place.
struct Weights {
    first: f64,
    last: f64,
    between: f64,
    last_index: usize,
}

impl Weights {
    /// Of two touches and more.
    fn new(model: AttributionModel, view: View) -> Weights {
        let (kept, count) = (view.touches.len(), view.count());
        // The window may have closed over the first one: then one touch is both ends.
        let ends = kept.min(2) as u64;
        let between = count.saturating_sub(ends);
        let (end, middle) = match (model, between) {
            (AttributionModel::PositionBased, 0) => (0.5, 0.0),
            (AttributionModel::PositionBased, between) => (0.4, 0.2 / between as f64),
            _ => (1.0 / count as f64, 1.0 / count as f64),
        };
        let both = matches!(model, AttributionModel::PositionBased) && kept == 1;
        let first = if both { 2.0 * end } else { end };
        Weights { first, last: end, between: middle, last_index: kept.saturating_sub(1) }
    }

    fn of(&self, index: usize) -> f64 {
        match index {
            0 => self.first,
            index if index == self.last_index => self.last,
            _ => self.between,
        }
    }
}

impl<'h> Credits<'h> {
    /// `google/cpc/spring:0.4`, the greatest share first; at most [`MAX_ENTRIES`] and one for the rest.
    pub fn texts(&self) -> Vec<String> {
        let named = if self.list.len() > MAX_ENTRIES + 1 { MAX_ENTRIES } else { self.list.len() };
        let mut texts: Vec<String> = self.list[..named].iter().map(|credit| credit.label.with(credit.share)).collect();
        if named < self.list.len() {
            let rest = self.list[named..].iter().map(|credit| credit.share).sum();
            texts.push(Named::Text(OTHER).with(rest));
        }
        texts
    }

    /// All shares.
    #[cfg(test)]
    pub fn list(&self) -> &[Credit<'h>] {
        &self.list
    }
}
