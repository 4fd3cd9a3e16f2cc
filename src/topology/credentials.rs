//! How services that issue tokens of their own are told who calls: OAuth, and Salesforce with it.

use std::path::PathBuf;

use crate::secret::Secret;

/// A secret, and the file it came from: read again for each new token, so that a rotated secret needs no restart.
#[derive(Debug, Clone)]
pub struct SecretSource {
    /// As it was when the topology was loaded.
    pub value: Secret,
    /// Of `${file:/path}`, where that is all there is.
    pub file: Option<PathBuf>,
}

impl From<&str> for SecretSource {
    fn from(text: &str) -> Self {
        SecretSource { value: text.into(), file: None }
    }
}

/// OAuth 2.0 client credentials (RFC 6749, 4.4).
#[derive(Debug, Clone)]
pub struct OAuthSpec {
    pub token_url: String,
    pub client_id: String,
    pub client_secret: SecretSource,
    /// Which rights are asked for, separated by spaces.
    pub scope: Option<String>,
    /// For whom the token is: some issuers want it said.
    pub audience: Option<String>,
    /// Id and secret stand in the body instead of in an `Authorization: Basic` header.
    pub in_body: bool,
}

/// Records of one object of Salesforce.
#[derive(Debug, Clone)]
pub struct SalesforceSpec {
    /// Where tokens are issued: `https://acme.my.salesforce.com`, without a slash at the end.
    pub login_url: String,
    /// The connected app's consumer key.
    pub client_id: String,
    pub grant: SalesforceGrant,
    /// An identifier, such as `Contact`.
    pub object: String,
    /// Which field the agent's input holds; `None` is the record id.
    pub id_field: Option<String>,
    /// `v62.0`
    pub api_version: String,
    /// Of the organisation's API calls per day, in percent: left to others.
    pub reserve_percent: f64,
}

/// How Salesforce is told who calls.
#[derive(Debug, Clone)]
pub enum SalesforceGrant {
    ClientCredentials {
        client_secret: SecretSource,
    },
    /// JWT bearer (RFC 7523), signed with RS256.
    JwtBearer {
        username: String,
        /// PEM, PKCS #8 or PKCS #1.
        private_key: SecretSource,
        audience: String,
    },
}
