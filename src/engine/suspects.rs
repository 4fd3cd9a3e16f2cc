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
    /// What to do with a record: `Some(Ok(message))` bury it, `Some(Err(()))` wait until it is alone, `None` go on.
    pub fn judge(&self, place: Place, alone: bool) -> Option<Result<String, ()>> {
        if self.waiting.is_empty() && self.condemned.is_empty() {
            return None;
        }
        match self.condemned.get(&place) {
            Some(message) => Some(Ok(message.clone())),
            None if self.waiting.contains(&place) && !alone => Some(Err(())),
            None => None,
        }
    }

    /// The broker refused these of a batch, with its message.
    pub fn refused(&mut self, refusals: impl IntoIterator<Item = (Place, String)>, batch: &Batch) {
        let mut sources = batch.outputs.iter().map(|(output, _, _)| output.source);
        let first = sources.next();
        let alone = sources.all(|source| Some(source) == first);
        for (place, message) in refusals {
            if alone {
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
        assert_eq!(suspects.judge((0, 7), false), Some(Err(())));
        assert_eq!(suspects.judge((0, 7), true), None);
        assert_eq!(suspects.judge((0, 8), false), None);
        suspects.refused(refusal(), &batch(&[(0, 7), (0, 7)]));
        assert_eq!(suspects.judge((0, 7), false), Some(Ok("too large".to_owned())));
        suspects.committed(&batch(&[(0, 7)]));
        assert_eq!(suspects.judge((0, 7), false), None);
    }
}
