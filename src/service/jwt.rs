//! JSON Web Tokens signed with RS256 (RFC 7519, RFC 7515), by the provider that TLS uses.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls::{
    SignatureScheme,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};

/// RFC 7515's header for it.
const HEADER: &str = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";

/// Why there is no signature. Never shows the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    /// Give the private key as PEM (PKCS #8 or PKCS #1), not encrypted: `openssl genrsa -out key.pem 2048`.
    #[error("the private key is not one in PEM, unencrypted")]
    Pem,
    /// The key is damaged, or of a size that the provider refuses: use RSA of 2048 to 4096 bits.
    #[error("the private key cannot be used")]
    Key,
    /// Use an RSA key: RS256 takes no other.
    #[error("the private key is not an RSA key")]
    NotRsa,
}

/// A key that signs.
pub(super) struct Signer(Arc<dyn SigningKey>);

impl Signer {
    /// Reads an RSA key in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, JwtError> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| JwtError::Pem)?;
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).map_err(|_| JwtError::Key)?;
        match key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]) {
            Some(_) => Ok(Signer(key)),
            None => Err(JwtError::NotRsa),
        }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &serde_json::Value) -> Result<String, JwtError> {
        self.sign_parts(HEADER, &claims.to_string())
    }

    fn sign_parts(&self, header: &str, claims: &str) -> Result<String, JwtError> {
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signer = self.0.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or(JwtError::NotRsa)?;
        let signature = signer.sign(token.as_bytes()).map_err(|_| JwtError::Key)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7515_s_example_comes_out_to_the_letter() {
        let signer = Signer::from_pem(include_str!("../../tests/fixtures/rfc7515-a2.pem")).unwrap();
        let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        let token = signer.sign_parts("{\"alg\":\"RS256\"}", claims).unwrap();
        assert_eq!(
            token,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290\
             Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG\
             bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9\
             383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywl\
             VmtVrBp0igcN_IoypGlUPQGe77Rw"
        );
    }

    #[test]
    fn what_is_no_rsa_key_is_refused_without_being_shown() {
        let wrong = |pem: &str| Signer::from_pem(pem).err();
        assert_eq!(wrong("geheim"), Some(JwtError::Pem));
        assert_eq!(wrong("-----BEGIN PRIVATE KEY-----\nZ2VoZWlt\n-----END PRIVATE KEY-----\n"), Some(JwtError::Key));
        // P-256, made for this test.
        let ec = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKMgsoKsYB8fXD3u0\nfbnYAdlMG/o6L9mwqiiEM9kEaPmhRANCAASH/BNTWWYGNBNxSrCoOhajclxot8qD\nvhYMfCirZyfH02WKBV4QxW43hRvKDcBVVWkUAlFfTkdpNX1l83/8wA1o\n-----END PRIVATE KEY-----\n";
        assert_eq!(wrong(ec), Some(JwtError::NotRsa));
        assert!(!JwtError::Pem.to_string().contains("geheim"));
    }
}
