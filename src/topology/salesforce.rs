//! Salesforce services: one way to a token, and names that can stand in a URL and in a query.

use super::{
    codes,
    credentials::{SalesforceGrant, SalesforceSpec},
    decode::{Table, Text},
    diagnostic::Findings,
    model::{ServiceKind, ServiceSpec},
    raw_agent::RawAgent,
    raw_service::SalesforceKeys,
    services::{secret_source, token_address},
    yaml::Span,
};

/// Where tokens are issued for everybody by JWT bearer; not by client credentials.
const LOGIN_URL: &str = "https://login.salesforce.com";
/// The same for sandboxes.
const TEST_URL: &str = "https://test.salesforce.com";
/// Winter '25.
const API_VERSION: &str = "v62.0";
/// Left to people and other programs, in percent of the day's calls.
const RESERVE_PERCENT: f64 = 5.0;
/// Relationships that a field's path may cross, as SOQL has it.
const MOST_RELATIONSHIPS: usize = 5;

/// Fills in a Salesforce service.
pub(super) fn build(name: &str, keys: &SalesforceKeys, span: Span, findings: &mut Findings) -> ServiceKind {
    let login_url = keys.login_url.as_ref();
    if let Some(url) = login_url {
        token_address(url, findings);
    }
    let login_url = login_url.map_or(LOGIN_URL, |url| url.value.trim_end_matches('/')).to_owned();
    for (text, what) in [(&keys.object, "an object"), (&keys.id_field, "a field")] {
        if let Some(text) = text.as_ref().filter(|text| !text.placeholder && !is_identifier(&text.value)) {
            not_a_name(text, what, findings);
        }
    }
    ServiceKind::Salesforce(SalesforceSpec {
        grant: grant(name, keys, &login_url, span, findings),
        login_url,
        client_id: keys.client_id.value.clone(),
        object: keys.object.as_ref().map_or("Contact", |object| &object.value).to_owned(),
        id_field: keys
            .id_field
            .as_ref()
            .map(|field| field.value.clone())
            .filter(|field| !field.eq_ignore_ascii_case("id")),
        api_version: keys.api_version.as_ref().map_or(API_VERSION.to_owned(), |version| api_version(version, findings)),
        reserve_percent: keys.reserve_percent.map_or(RESERVE_PERCENT, |percent| {
            if !(0.0..100.0).contains(&percent.value) {
                let message = format!("{} percent cannot be kept in reserve", percent.value);
                findings.error(codes::HW107, percent.span, message, "Write 0 to 99");
            }
            percent.value
        }),
    })
}

fn grant(name: &str, keys: &SalesforceKeys, login_url: &str, span: Span, findings: &mut Findings) -> SalesforceGrant {
    match (&keys.client_secret, &keys.private_key) {
        (Some(_), Some(key)) => {
            let message = format!("service \"{name}\" has a client_secret and a private_key");
            let fix = "Keep client_secret for client credentials, or private_key and username for JWT bearer";
            findings.error(codes::HW107, key.span, message, fix);
        }
        (None, None) => {
            let message = format!("service \"{name}\" has neither client_secret nor private_key");
            let fix =
                "Write client_secret: \"${SALESFORCE_SECRET}\", or private_key: \"${file:/path}\" and username: …";
            findings.error(codes::HW105, span, message, fix);
        }
        (Some(secret), None) => {
            for (text, key) in [(&keys.username, "username"), (&keys.audience, "audience")] {
                if let Some(text) = text {
                    let message = format!("{key} belongs to JWT bearer, and service \"{name}\" has a client_secret");
                    findings.error(codes::HW107, text.span, message, format!("Leave {key} out"));
                }
            }
            if keys.login_url.is_none() {
                let message = format!(
                    "service \"{name}\" has no key \"login_url\": client credentials work at your own domain only"
                );
                findings.error(codes::HW105, span, message, "Write login_url: https://<your domain>.my.salesforce.com");
            }
            return SalesforceGrant::ClientCredentials { client_secret: secret_source(secret) };
        }
        (None, Some(key)) => {
            if keys.username.is_none() {
                let message = format!("service \"{name}\" has a private_key and no username, in whose name to ask");
                findings.error(codes::HW105, span, message, "Write username: integration@acme.example");
            }
            if !key.placeholder && !key.value.contains("-----BEGIN ") {
                let message = format!("private_key of service \"{name}\" is not in PEM");
                let fix = "Write private_key: \"${file:/path/to/key.pem}\"";
                findings.error(codes::HW107, key.span, message, fix);
            }
            let sandbox = login_url.contains("//test.") || login_url.contains(".sandbox.");
            let audience = keys.audience.as_ref().map(|audience| audience.value.as_str());
            return SalesforceGrant::JwtBearer {
                username: keys.username.as_ref().map_or_else(String::new, |name| name.value.clone()),
                private_key: secret_source(key),
                audience: audience.unwrap_or(if sandbox { TEST_URL } else { LOGIN_URL }).to_owned(),
            };
        }
    }
    // Reported.
    SalesforceGrant::ClientCredentials { client_secret: "".into() }
}

/// `62.0` or `v62.0`, as it stands in URLs.
fn api_version(written: &Text, findings: &mut Findings) -> String {
    let number = written.value.strip_prefix('v').unwrap_or(&written.value);
    let fine = number.split_once('.').is_some_and(|(major, minor)| {
        let digits = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(major) && digits(minor)
    });
    if !fine && !written.placeholder {
        let message = format!("\"{}\" is no version of Salesforce's API", written.raw);
        findings.error(codes::HW107, written.span, message, format!("Write {API_VERSION}"));
    }
    format!("v{number}")
}

/// Checks what an agent asks of a Salesforce service: fields, and fields across relationships.
pub(super) fn check_fields(agent: &RawAgent, service: &ServiceSpec, findings: &mut Findings) {
    if !matches!(service.kind, ServiceKind::Salesforce(_)) {
        return;
    }
    for (_, from) in agent.common.output.iter().flat_map(|Table(entries)| entries) {
        let steps = from.value.split('.').count();
        if steps > MOST_RELATIONSHIPS + 1 || !from.value.split('.').all(is_identifier) {
            let text = Text { value: from.value.clone(), raw: from.value.clone(), span: from.span, placeholder: false };
            not_a_name(&text, "a field", findings);
        }
    }
}

/// What may stand in a URL and in SOQL as it is.
fn is_identifier(name: &str) -> bool {
    name.len() <= 80
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn not_a_name(text: &Text, what: &str, findings: &mut Findings) {
    let message = format!("\"{}\" is no name of {what} in Salesforce", text.raw);
    let example = if what == "an object" { "Contact or Visitor__c" } else { "Email, Score__c or Account.Name" };
    let fix = format!("Write its API name, letters, digits and _, such as {example}");
    findings.error(codes::HW109, text.span, message, fix);
}
