use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs8::der::pem::{LineEnding, encode_string};

use super::*;

const ENCRYPTED: &str = include_str!("../../../tests/snowflake_keys/encrypted.p8");
const TRIPLE_DES: &str = include_str!("../../../tests/snowflake_keys/triple_des.p8");
const FINGERPRINT: &str = include_str!("../../../tests/snowflake_keys/fingerprint.txt");
const PASSPHRASE: Option<&str> = Some("only for tests");

#[test]
fn an_encrypted_key_has_the_fingerprint_that_openssl_prints() {
    let key = PrivateKey::read(ENCRYPTED, PASSPHRASE).unwrap();
    assert_eq!(key.fingerprint(), format!("SHA256:{}", FINGERPRINT.trim()));
    assert_eq!(format!("{key:?}"), format!("PrivateKey({})", key.fingerprint()));
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let read = |pem: &str, passphrase| PrivateKey::read(pem, passphrase).unwrap_err().to_string();
    assert!(read(ENCRYPTED, None).contains("passphrase is missing"));
    assert!(read(ENCRYPTED, Some("another")).contains("passphrase is wrong"));
    assert!(read(TRIPLE_DES, PASSPHRASE).contains("DES"));
    assert!(read("", None).contains("PKCS#8"));
    assert!(
        read(
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            None
        )
        .contains("PKCS#8")
    );
    let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert!(read(&elliptic, None).contains("RSA"));
    // The old form of OpenSSL, without PKCS#8.
    assert!(read(&ENCRYPTED.replace("ENCRYPTED", "RSA"), None).contains("pkcs8 -topk8"));
}

#[test]
fn a_token_is_signed_with_the_key_and_ends_before_an_hour() {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let document = pair.as_der().unwrap();
    let pem = encode_string("PRIVATE KEY", LineEnding::LF, document.as_ref()).unwrap();
    let key = PrivateKey::read(&pem, None).unwrap();
    let token = key
        .sign("MYORG-MY_ACCOUNT.SINK", Duration::from_millis(1_800_000_000_999))
        .unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let public = pair.public_key().as_der().unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref())
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    let json = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(json(header)["alg"], "RS256");
    let claims = json(claims);
    assert_eq!(claims["sub"], "MYORG-MY_ACCOUNT.SINK");
    assert_eq!(
        claims["iss"],
        format!("MYORG-MY_ACCOUNT.SINK.{}", key.fingerprint())
    );
    assert_eq!(claims["iat"], 1_800_000_000);
    assert_eq!(claims["exp"], 1_800_003_540);
}

#[test]
fn the_subject_is_large_without_dots_and_without_a_region() {
    for (account, expected) in [
        ("myorg-my_account", "MYORG-MY_ACCOUNT.SINK"),
        ("myorg.my_account", "MYORG-MY_ACCOUNT.SINK"),
        ("ab12345", "AB12345.SINK"),
        ("ab12345.eu-west-1", "AB12345.SINK"),
        ("ab12345.eu-west-1.aws", "AB12345.SINK"),
    ] {
        assert_eq!(subject(account, "sink"), expected, "{account}");
    }
}
