//! Bearer tokens for OAUTHBEARER: read anew from their file whenever librdkafka asks for one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

/// The longest token in bytes; those of identity services with many groups have some ten thousand.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
/// What stands for a principal that the token does not name. librdkafka only logs it; the broker decides by the token.
const UNNAMED_PRINCIPAL: &str = "unnamed";

/// What is read of a token (RFC 7519, section 4.1). Whether it is genuine is the broker's to judge.
#[derive(Deserialize)]
struct Claims {
    /// When it expires, in seconds since 1970; fractions are allowed.
    exp: Option<f64>,
    /// Whom it is for.
    sub: Option<String>,
}

/// The token in this file, as librdkafka wants it.
///
/// # Errors
/// In words, for librdkafka to hand back as the reason of a failed login: the file cannot be read, holds no JWT, its
/// token never expires (librdkafka has to know when to ask for the next one), or has expired by `now`. Never holds any part of the token.
pub(crate) fn read_token(path: &Path, now: Timestamp) -> Result<OAuthToken, String> {
    let place = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| format!("the sasl.token_file {place} cannot be read: {error}"))?;
    let token = text.trim();
    let claims = claims(token).ok_or_else(|| format!("the sasl.token_file {place} does not hold a JWT"))?;
    let lifetime_ms = claims.exp.map(|seconds| (seconds * 1000.0) as i64);
    let lifetime_ms = lifetime_ms.ok_or_else(|| {
        format!("the token in the sasl.token_file {place} has no `exp`: when to read the next one cannot be known")
    })?;
    if lifetime_ms <= now.as_millisecond() {
        let expired = Timestamp::from_millisecond(lifetime_ms).map_or("long ago".to_owned(), |at| format!("at {at}"));
        return Err(format!("the token in the sasl.token_file {place} has expired {expired}: nothing has renewed it"));
    }
    let principal_name = claims.sub.filter(|sub| !sub.is_empty()).unwrap_or_else(|| UNNAMED_PRINCIPAL.to_owned());
    Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms })
}

/// The claims of a JWT: the second of three parts in base64url. The third, the signature, may be empty.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if parts.next().is_some() || !is_plain {
        return None;
    }
    serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        let header = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        format!("{header}.{}.c2lnbmVk", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    fn read(text: &[u8]) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("writes");
        read_token(file.path(), Timestamp::from_second(1_000).expect("a time"))
    }

    #[test]
    fn a_token_is_taken_as_it_stands() {
        let jwt = jwt(r#"{"exp":1001.5,"sub":"tailwater","aud":["kafka"]}"#);
        let token = read(format!("{jwt}\n").as_bytes()).expect("a token");
        assert_eq!((token.token, token.principal_name.as_str(), token.lifetime_ms), (jwt, "tailwater", 1_001_500));
    }

    #[test]
    fn a_token_for_nobody_in_particular_is_the_brokers_to_judge() {
        assert_eq!(read(jwt(r#"{"exp":2000}"#).as_bytes()).expect("a token").principal_name, UNNAMED_PRINCIPAL);
    }

    #[test]
    fn what_is_no_usable_token_is_told_without_it() {
        let canary = BASE64URL_NOPAD.encode(br#"{"canary":1}"#);
        for (text, says) in [
            (String::new(), "does not hold a JWT"),
            ("canary".into(), "does not hold a JWT"),
            (format!("{canary}.{canary}"), "does not hold a JWT"),
            (format!("{canary}.{canary}.{canary}.{canary}"), "does not hold a JWT"),
            (format!("a.canary!.{canary}"), "does not hold a JWT"),
            (format!("{canary}.{canary}.\0"), "does not hold a JWT"),
            (format!("{canary}.{canary}."), "no `exp`"),
            (jwt(r#"{"exp":"2000"}"#), "does not hold a JWT"),
            (jwt(r#"{"exp":1000,"sub":"canary"}"#), "has expired at 1970-01-01T00:16:40Z"),
            (jwt(r#"{"exp":-1e300}"#), "has expired long ago"),
            ("x".repeat(100_000), "does not hold a JWT"),
        ] {
            let why = read(text.as_bytes()).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(why.contains(says) && why.contains("token_file"), "{why}");
            assert!(!why.contains("canary") && !why.contains(&canary) && !why.contains('\0'), "{why}");
        }
        assert!(read(&[0xff, 0xfe]).is_err_and(|why| why.contains("cannot be read")));
        let missing = read_token(Path::new("/missing/token"), Timestamp::UNIX_EPOCH).err().expect("is not there");
        assert!(missing.contains("/missing/token") && missing.contains("No such file"), "{missing}");
    }
}
