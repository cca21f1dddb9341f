//! The private key of the sink's user, and the tokens that it signs.
//!
//! The form of the tokens: <https://docs.snowflake.com/en/developer-guide/sql-api/authenticating>.

use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use serde::Serialize;

/// The lifetime of a signed token. Snowflake ends one after an hour, whatever it says.
const LIFETIME: Duration = Duration::from_secs(59 * 60);
/// The least size of a key that Snowflake takes, in bytes: 2048 bits.
const MODULUS_MIN_BYTES: usize = 256;

/// A private key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(
        "it is not a private key as PKCS#8 in PEM, which begins with BEGIN PRIVATE KEY or BEGIN ENCRYPTED PRIVATE \
         KEY: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out rsa_key.p8` makes one of another form"
    )]
    NotPkcs8,
    #[error("it is encrypted, and the setting passphrase is missing")]
    PassphraseMissing,
    #[error(
        "it cannot be decrypted: the passphrase is wrong, or the key was encrypted with a cipher such as DES, and not \
         with `-v2 aes-256-cbc`"
    )]
    NotDecrypted,
    #[error("it is not an RSA key")]
    NotRsa,
    #[error("it has fewer than 2048 bits, which Snowflake does not take")]
    TooShort,
}

/// The private key of a user.
pub(super) struct PrivateKey {
    signing: EncodingKey,
    fingerprint: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    sub: &'a str,
    iat: u64,
    exp: u64,
}

impl PrivateKey {
    /// Reads a key from PEM.
    pub(super) fn read(pem: &str, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyError::NotPkcs8)?;
        let document = match label {
            "PRIVATE KEY" => document,
            "ENCRYPTED PRIVATE KEY" => {
                // A cipher that is not known here is already an error of the form.
                let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(|_| KeyError::NotDecrypted)?;
                let passphrase = passphrase.ok_or(KeyError::PassphraseMissing)?;
                encrypted
                    .decrypt(passphrase)
                    .map_err(|_| KeyError::NotDecrypted)?
            }
            _ => return Err(KeyError::NotPkcs8),
        };
        let pair = KeyPair::from_pkcs8(document.as_bytes()).map_err(|_| KeyError::NotRsa)?;
        if pair.public_modulus_len() < MODULUS_MIN_BYTES {
            return Err(KeyError::TooShort);
        }
        let public = pair.public_key().as_der().map_err(|_| KeyError::NotRsa)?;
        let digest = digest::digest(&digest::SHA256, public.as_ref());
        let inner = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| KeyError::NotPkcs8)?;
        Ok(Self {
            signing: EncodingKey::from_rsa_der(inner.private_key.as_bytes()),
            fingerprint: format!("SHA256:{}", STANDARD.encode(digest)),
        })
    }

    /// Returns the fingerprint of the public key, as `DESCRIBE USER` shows it.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Signs a token for a user of an account, `ACCOUNT.USER`, at a time since the Unix epoch.
    pub(super) fn sign(&self, subject: &str, now: Duration) -> Result<String, KeyError> {
        let claims = Claims {
            iss: format!("{subject}.{}", self.fingerprint),
            sub: subject,
            iat: now.as_secs(),
            exp: (now + LIFETIME).as_secs(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.signing)
            .map_err(|_| KeyError::NotRsa)
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "PrivateKey({})", self.fingerprint)
    }
}

/// Returns the subject of a user's tokens, `ACCOUNT.USER`.
///
/// All letters are large. A locator is written without its region, and in any other account a dot becomes a
/// dash.
pub(super) fn subject(account: &str, user: &str) -> String {
    let account = match account.split_once('.') {
        Some((locator, _)) if is_locator(locator) => locator.to_owned(),
        _ => account.replace('.', "-"),
    };
    format!("{}.{}", account.to_uppercase(), user.to_uppercase())
}

/// Returns whether a name has the form of an account locator: some letters, and then digits only.
fn is_locator(name: &str) -> bool {
    let digits = name.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    digits.len() < name.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
