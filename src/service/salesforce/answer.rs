//! What Salesforce's answers mean: failures by their code, the day's calls from the header, values of records. Pure.
//!
//! Formats: "REST API Developer Guide", "Status Codes and Error Responses" and "Limit Info Header".

use std::{sync::Arc, time::Duration};

use reqwest::header::HeaderMap;
use serde_json::Value as Json;

use crate::{
    event::{Type, Value},
    policy::{CallError, Kind},
};

use super::super::{Column, convert, wire};

/// Once the day's calls are used up, whether some have come back is looked at so often: they are counted over the last
/// 24 hours, and come back hour by hour.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// Whether it is an answer; else what failed.
pub(super) fn judge(answer: &wire::Explained) -> Result<(), CallError> {
    let judged = match wire::judge(answer.status, &answer.headers) {
        Ok(true) => return Ok(()),
        Ok(false) => CallError::new(Kind::Rejected, format!("answered {}", answer.status)),
        Err(error) => error,
    };
    let Some((code, message)) = answer.body.as_ref().ok().and_then(code) else { return Err(judged) };
    let text = match missing_column(message) {
        Some(column) => format!("Salesforce says {code}: no such column {column}"),
        None => format!("Salesforce says {code}"),
    };
    Err(match code {
        // Too many at once is over in a moment; too many a day is not.
        "REQUEST_LIMIT_EXCEEDED" if message.contains("Concurrent") => CallError::new(Kind::Limited, text),
        "REQUEST_LIMIT_EXCEEDED" => {
            CallError::new(Kind::Limited, text).with_retry_after(judged.retry_after.or(Some(LOOK_AGAIN)))
        }
        "QUERY_TIMEOUT" | "REQUEST_RUNNING_TOO_LONG" | "INVALID_QUERY_LOCATOR" | "SERVER_UNAVAILABLE" => {
            CallError::new(Kind::Transient, text)
        }
        _ => CallError { message: text.into(), ..judged },
    })
}

/// The first error's code and message. The message is not to be shown: it quotes the query, hence personal data.
fn code(body: &Json) -> Option<(&str, &str)> {
    let first = body.as_array().map_or(Some(body), |errors| errors.first())?;
    let code = first.get("errorCode")?.as_str()?;
    let fine = code.len() <= 60 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    fine.then(|| (code, first.get("message").and_then(Json::as_str).unwrap_or_default()))
}

/// The column that `INVALID_FIELD` complains about: a name from the topology.
fn missing_column(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("No such column '")?;
    let (column, _) = rest.split_once('\'')?;
    let fine = column.len() <= 80 && column.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
    fine.then_some(column)
}

/// Calls of the last 24 hours, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub used: u64,
    pub limit: u64,
}

impl Usage {
    /// Whether no more than the reserve is left.
    pub fn is_near(&self, reserve_percent: f64) -> bool {
        self.used as f64 >= self.limit as f64 * (1.0 - reserve_percent / 100.0)
    }
}

/// `Sforce-Limit-Info: api-usage=18/5000; per-app-api-usage=17/250(appName=…)`: of the two, the fuller.
pub(super) fn usage(headers: &HeaderMap) -> Option<Usage> {
    let text = headers.get("sforce-limit-info")?.to_str().ok().filter(|text| text.len() <= 1_024)?;
    let usages = text.split([';', ',']).filter_map(|entry| {
        let (name, value) = entry.trim().split_once('=')?;
        let (used, limit) = value.split_once('/').filter(|_| name.ends_with("api-usage"))?;
        let digits = limit.find(|character: char| !character.is_ascii_digit()).unwrap_or(limit.len());
        let usage = Usage { used: used.trim().parse().ok()?, limit: limit[..digits].parse().ok()? };
        (usage.limit > 0).then_some(usage)
    });
    usages.max_by(|a, b| (a.used as f64 / a.limit as f64).total_cmp(&(b.used as f64 / b.limit as f64)))
}

/// The values of a record's columns.
pub(super) fn values(record: &Json, columns: &[Column]) -> Result<Arc<[Value]>, CallError> {
    let values = columns.iter().map(|column| {
        let json = field(record, &column.from);
        let split = match (column.ty, json) {
            // A picklist with several chosen comes as one text.
            (Type::TextList, Some(Json::String(text))) => {
                Some(text.split(';').filter(|item| !item.is_empty()).map(Json::from).collect::<Json>())
            }
            _ => None,
        };
        convert::value(split.as_ref().or(json), column.ty)
            .map_err(|found| CallError::new(Kind::BadResponse, format!("field {}: {found}", column.from)))
    });
    values.collect()
}

/// A field, also across relationships. Salesforce answers in its own case, whatever was asked.
pub(super) fn field<'a>(record: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').try_fold(record, |record, name| {
        let fields = record.as_object()?;
        fields
            .get(name)
            .or_else(|| fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    fn failure(status: u16, body: Result<Json, CallError>) -> (Kind, String, Option<Duration>) {
        let status = StatusCode::from_u16(status).unwrap();
        let error = judge(&wire::Explained { status, headers: HeaderMap::new(), body }).unwrap_err();
        (error.kind, error.message.to_string(), error.retry_after)
    }

    fn says(code: &str, message: &str) -> Result<Json, CallError> {
        Ok(json!([{ "errorCode": code, "message": message }]))
    }

    #[test]
    fn failures_are_told_apart_by_their_code() {
        let kind = |status, code, message| failure(status, says(code, message)).0;
        assert_eq!(kind(401, "INVALID_SESSION_ID", "Session expired or invalid"), Kind::Rejected);
        assert_eq!(kind(400, "MALFORMED_QUERY", ""), Kind::Rejected);
        assert_eq!(kind(400, "QUERY_TIMEOUT", ""), Kind::Transient);
        assert_eq!(kind(404, "NOT_FOUND", ""), Kind::Rejected);
        assert_eq!(kind(500, "UNKNOWN_EXCEPTION", ""), Kind::Transient);
        assert_eq!(kind(403, "API_DISABLED_FOR_ORG", ""), Kind::Rejected);
        let html = Err(CallError::new(Kind::BadResponse, "answered \"text/html\" instead of JSON"));
        assert_eq!(failure(503, html).0, Kind::Transient, "a maintenance page is no news about records");
    }

    #[test]
    fn a_day_s_calls_used_up_are_another_thing_than_too_many_at_once() {
        let day = failure(403, says("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
        assert_eq!((day.0, day.2), (Kind::Limited, Some(LOOK_AGAIN)));
        let moment = failure(403, says("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."));
        assert_eq!((moment.0, moment.2), (Kind::Limited, None));
    }

    #[test]
    fn a_missing_column_is_named_and_the_query_is_not_shown() {
        let message = "\nSELECT Id FROM Contact WHERE Email IN ('ada@acme.example')\n ^\nERROR at Row:1:Column:8\n\
                       No such column 'Score__c' on entity 'Contact'.";
        let (_, said, _) = failure(400, says("INVALID_FIELD", message));
        assert_eq!(said, "Salesforce says INVALID_FIELD: no such column Score__c");
        let (_, said, _) = failure(400, says("INVALID_FIELD", "No such column 'ada@acme.example'"));
        assert_eq!(said, "Salesforce says INVALID_FIELD");
        let (_, said, _) = failure(400, says("ada@acme.example", ""));
        assert!(!said.contains("ada"), "{said}");
    }

    #[test]
    fn the_day_s_calls_are_read_from_the_header() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([("sforce-limit-info".parse().unwrap(), text.parse().unwrap())]);
            usage(&headers)
        };
        let usage = |used, limit| Some(Usage { used, limit });
        assert_eq!(read("api-usage=18/5000"), usage(18, 5_000));
        assert_eq!(read("api-usage=25/5000; per-app-api-usage=240/250(appName=sample-app)"), usage(240, 250));
        for absurd in ["", "api-usage=", "api-usage=1", "api-usage=1/0", "api-usage=-1/5", "api-usage=x/y", "=1/2", "/"]
        {
            assert_eq!(read(absurd), None, "{absurd}");
        }
        assert_eq!(read("api-usage=99999999999999999999999/5"), None);
        assert_eq!(read(&"api-usage=1/2;".repeat(200)), None);
    }

    #[test]
    fn the_reserve_is_left_to_others() {
        let usage = |used| Usage { used, limit: 5_000 };
        assert!(!usage(4_749).is_near(5.0));
        assert!(usage(4_750).is_near(5.0));
        assert!(!usage(4_999).is_near(0.0));
        assert!(usage(5_001).is_near(0.0));
    }

    #[test]
    fn fields_are_found_across_relationships_and_in_any_case() {
        let record = json!({ "Email": "a@b.example", "Account": { "Name": "Acme" }, "Owner": null });
        assert_eq!(field(&record, "email"), Some(&json!("a@b.example")));
        assert_eq!(field(&record, "Account.Name"), Some(&json!("Acme")));
        assert_eq!(field(&record, "Owner.Name"), None);
    }
}
