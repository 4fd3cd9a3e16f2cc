//! Records that the broker refused: redone alone, and buried if it refuses them then.
//!
//! A broker may refuse a whole batch of records for the fault of one. So whatever was refused in company is only a
//! suspect; the one that is refused in a transaction of its own is guilty.

use std::collections::{BTreeMap, BTreeSet};

use super::Batch;

/// Partition and offset of an input record.
type Place = (i32, i64);

/// The suspects of one worker. Forgotten with it: the next owner finds out anew.
#[derive(Debug, Default)]
pub struct Suspects {
    waiting: BTreeSet<Place>,
    condemned: BTreeMap<Place, String>,
}

impl Suspects {
    /// Why a record is to be buried, if it is guilty.
    pub fn guilty(&self, place: Place) -> Option<&String> {
        if self.condemned.is_empty() { None } else { self.condemned.get(&place) }
    }

    /// Whether records are to be taken in one by one, each committed before the next, until the suspects are settled.
    pub fn ask_for_solitude(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Forgets those of partitions that are no longer ours.
    pub fn retain_partitions(&mut self, ours: impl Fn(i32) -> bool) {
        self.waiting.retain(|place| ours(place.0));
        self.condemned.retain(|place, _| ours(place.0));
    }

    /// The broker refused these of a batch, with its message.
    pub fn refused(&mut self, refusals: impl IntoIterator<Item = (Place, String)>, batch: &Batch) {
        let mut sources = batch.outputs.iter().map(|(output, _, _)| output.source);
        let first = sources.next();
        let alone = sources.all(|source| Some(source) == first);
        for (place, message) in refusals {
            if alone {
                self.waiting.remove(&place);
                self.condemned.insert(place, message);
            } else {
                self.waiting.insert(place);
            }
        }
    }

    /// A batch was committed: what is in it is settled.
    pub fn committed(&mut self, batch: &Batch) {
        if self.waiting.is_empty() && self.condemned.is_empty() {
            return;
        }
        for (output, _, _) in batch.outputs.iter() {
            self.waiting.remove(&output.source);
            self.condemned.remove(&output.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(places: &[Place]) -> Batch {
        let mut batch = Batch::default();
        for place in places {
            batch.outputs.push(0, place.0, *place, b"", 10, |_| Ok::<(), ()>(())).unwrap();
        }
        batch
    }

    #[test]
    fn what_is_refused_in_company_waits_until_it_is_alone_and_is_buried_if_refused_then() {
        let mut suspects = Suspects::default();
        let refusal = || [((0, 7), "too large".to_owned())];
        suspects.refused(refusal(), &batch(&[(0, 7), (0, 8)]));
        assert!(suspects.ask_for_solitude());
        assert_eq!(suspects.guilty((0, 7)), None);
        suspects.refused(refusal(), &batch(&[(0, 7), (0, 7)]));
        assert!(!suspects.ask_for_solitude());
        assert_eq!(suspects.guilty((0, 7)).map(String::as_str), Some("too large"));
        suspects.committed(&batch(&[(0, 7)]));
        assert_eq!(suspects.guilty((0, 7)), None);
    }
}
