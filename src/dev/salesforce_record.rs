//! The stub Salesforce's contacts: ids with their checksum, and the fields of a record.

use serde_json::{Value, json};

use super::contacts::{Contact, mix};
use crate::deliver::body::rfc3339;

/// Of contacts; then of this organisation; then six digits.
const PREFIX: &str = "003Hw0000";
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CHECKSUM: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
/// 2024-01-01, when the first contact was created. Milliseconds since 1970 UTC.
const FOUNDED_MS: i64 = 1_704_067_200_000;

/// The record id of a contact: 18 characters, ascending with its number.
pub fn record_id(number: u64) -> String {
    let mut id = PREFIX.to_owned();
    for place in (0..6).rev() {
        id.push(DIGITS[(number / 62_u64.pow(place) % 62) as usize].into());
    }
    // Which of each five letters are capitals, lowest bit first.
    for five in id.clone().as_bytes().chunks(5) {
        let bits = five.iter().rev().fold(0, |bits, letter| bits * 2 + usize::from(letter.is_ascii_uppercase()));
        id.push(CHECKSUM[bits].into());
    }
    id
}

/// The number of the contact of that id, of 15 or 18 characters.
pub(super) fn number_of(id: &str) -> Option<u64> {
    let digits = id.get(..15)?.strip_prefix(PREFIX)?;
    let number = digits
        .bytes()
        .try_fold(0, |number, digit| Some(number * 62 + DIGITS.iter().position(|known| *known == digit)? as u64))?;
    (id.len() == 15 || record_id(number) == id).then_some(number)
}

/// A field of a contact, in any case; `None` where there is no such column.
pub(super) fn record(contact: &Contact, field: &str) -> Option<Value> {
    let created_ms = FOUNDED_MS + (mix(contact.number) % (500 * 86_400_000)) as i64;
    let number = |set: u64| if set > 0 { json!(set) } else { Value::Null };
    Some(match field.to_ascii_lowercase().as_str() {
        "id" => json!(record_id(contact.number)),
        "firstname" => json!(contact.first_name),
        "lastname" => json!(contact.last_name),
        "name" => json!(format!("{} {}", contact.first_name, contact.last_name)),
        "email" => json!(contact.email()),
        "mailingcountry" => json!(contact.country),
        "segment__c" => json!(contact.segment),
        "lifecycle__c" => json!(contact.lifecycle),
        "user_id__c" => json!(contact.user_id()),
        "seats__c" => number(contact.employees),
        "interests__c" => json!("crm;cdp"),
        "hasoptedoutofemail" => json!(contact.number.is_multiple_of(10)),
        "createddate" => json!(rfc3339(created_ms).replace('Z', "+0000")),
        "account.name" => json!(contact.company),
        "account.website" => json!(contact.domain()),
        "account.numberofemployees" => number(contact.employees),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_salesforce_s_checksum_and_lead_back() {
        for number in [0, 1, 61, 62, 1_999, 123_456_789] {
            let id = record_id(number);
            assert_eq!(id.len(), 18);
            assert_eq!(number_of(&id), Some(number));
            assert_eq!(number_of(&id[..15]), Some(number));
        }
        assert!(record_id(61) < record_id(62), "ascending");
        assert_eq!(&record_id(0)[15..], "IAA", "H stands fourth of the first five");
        assert_eq!(number_of("003Hw0000000000AAA"), None, "a wrong checksum");
        assert_eq!(number_of("001Hw0000000000"), None, "an account's");
        assert_eq!(number_of(""), None);
    }
}
