//! The keys of the user, and tokens that they sign.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// The longest lifetime of a token that a key signed, whatever it says.
const SIGNED_LIFETIME_S: i64 = 3_600;
/// How far in the future a token may be signed.
const FUTURE_S: i64 = 60;

/// Checks a token that a key of the user must have signed.
///
/// # Errors
/// The fault, in words.
pub(crate) fn check_signed(
    token: &str,
    subject: &str,
    public_keys: &[Vec<u8>],
    now_s: i64,
) -> Result<(), String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("not a token")?;
    let (header, claims) = signed.split_once('.').ok_or("not a token")?;
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "not base64".to_owned());
    let json = |part: &str| -> Result<Value, String> {
        serde_json::from_slice(&decoded(part)?).map_err(|_| "not JSON".to_owned())
    };
    if json(header)?["alg"] != "RS256" {
        return Err("the algorithm is not RS256".to_owned());
    }
    let claims = json(claims)?;
    if claims["sub"] != subject {
        return Err(format!("the subject is {}, not {subject}", claims["sub"]));
    }
    let signature = decoded(signature)?;
    let key = public_keys.iter().find(|key| {
        let fingerprint = STANDARD.encode(digest(&SHA256, key));
        claims["iss"] == format!("{subject}.SHA256:{fingerprint}")
    });
    let key = key.ok_or("the issuer names a key that the user does not have")?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the signature is wrong")?;
    let time = |claim: &str| claims[claim].as_i64().ok_or(format!("{claim} is not a time"));
    let (issued, expires) = (time("iat")?, time("exp")?);
    if issued > now_s + FUTURE_S {
        return Err("the token is from the future".to_owned());
    }
    if now_s >= expires.min(issued + SIGNED_LIFETIME_S) {
        return Err("the token has expired".to_owned());
    }
    Ok(())
}
