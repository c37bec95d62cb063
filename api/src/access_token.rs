//! Access tokens: JSON Web Tokens signed with Ed25519, good for a quarter of an hour and for this install alone.

use std::fmt;

use domain::ids::{AccountId, SessionId};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind, jwk::Jwk,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long an access token is good for, in seconds.
pub(crate) const LIFETIME_SECONDS: u32 = 15 * 60;

/// How far the clocks of nodes may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 5;

const AUDIENCE: &str = "weir:api";

/// What stands before the seed in the PKCS #8 form of an Ed25519 key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The Ed25519 key that signs access tokens; all nodes of an install have the same.
#[derive(Clone)]
pub struct AccessTokenKey(Zeroizing<[u8; 32]>);

impl AccessTokenKey {
    /// The key that a seed of 32 random bytes stands for.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(seed))
    }
}

impl fmt::Debug for AccessTokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AccessTokenKey(…)")
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// Who it speaks for.
    pub(crate) sub: AccountId,
    /// The session it came from.
    pub(crate) sid: SessionId,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenRefused {
    /// It was good once.
    Expired,
    /// It never was.
    Invalid,
}

/// Signs access tokens and checks them.
pub(crate) struct AccessTokens {
    issuer: String,
    header: Header,
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl AccessTokens {
    /// Tokens of the install at `issuer`.
    pub(crate) fn new(key: &AccessTokenKey, issuer: &str) -> Self {
        let mut pkcs8 = Zeroizing::new([0; 48]);
        pkcs8[..16].copy_from_slice(&PKCS8_PREFIX);
        pkcs8[16..].copy_from_slice(key.0.as_slice());
        let signing = EncodingKey::from_ed_der(pkcs8.as_slice());
        let public = Jwk::from_encoding_key(&signing, Algorithm::EdDSA).expect("32 bytes are an Ed25519 seed");
        let checking = DecodingKey::from_jwk(&public).expect("the key was just made");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        Self { issuer: issuer.to_owned(), header: Header::new(Algorithm::EdDSA), signing, checking, validation }
    }

    /// A new token for a session.
    pub(crate) fn sign(&self, account_id: AccountId, session_id: SessionId, now: OffsetDateTime) -> String {
        let iat = now.unix_timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: account_id,
            sid: session_id,
            jti: Uuid::new_v4(),
            iat,
            exp: iat + i64::from(LIFETIME_SECONDS),
        };
        encode(&self.header, &claims, &self.signing).expect("an Ed25519 key signs anything that is JSON")
    }

    /// What `token` says.
    ///
    /// # Errors
    /// Why it is worth nothing: another key or algorithm, another install, its time is over.
    pub(crate) fn check(&self, token: &str) -> Result<Claims, TokenRefused> {
        decode::<Claims>(token, &self.checking, &self.validation).map(|token| token.claims).map_err(|error| match error
            .kind()
        {
            ErrorKind::ExpiredSignature => TokenRefused::Expired,
            _ => TokenRefused::Invalid,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use time::Duration;

    use super::*;

    const ISSUER: &str = "https://weir.example.org";

    fn tokens(seed: u8) -> AccessTokens {
        AccessTokens::new(&AccessTokenKey::from_seed([seed; 32]), ISSUER)
    }

    fn ids() -> (AccountId, SessionId) {
        (Uuid::now_v7().into(), Uuid::now_v7().into())
    }

    #[test]
    fn a_token_says_who_and_which_session() {
        let (account_id, session_id) = ids();
        let claims = tokens(1).check(&tokens(1).sign(account_id, session_id, OffsetDateTime::now_utc())).unwrap();
        assert_eq!((claims.sub, claims.sid), (account_id, session_id));
        assert_eq!(claims.exp - claims.iat, 900);
    }

    #[test]
    fn a_token_is_over_after_a_quarter_of_an_hour() {
        let (account_id, session_id) = ids();
        let long_ago = OffsetDateTime::now_utc() - Duration::seconds(900 + 6);
        assert_eq!(tokens(1).check(&tokens(1).sign(account_id, session_id, long_ago)), Err(TokenRefused::Expired));
    }

    #[test]
    fn other_keys_installs_and_algorithms_are_refused() {
        let (account_id, session_id) = ids();
        let now = OffsetDateTime::now_utc();
        let good = tokens(1).sign(account_id, session_id, now);
        let (body, signature) = good.rsplit_once('.').unwrap();
        let claims = body.split_once('.').unwrap().1;
        let header = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let other_install = AccessTokens::new(&AccessTokenKey::from_seed([1; 32]), "https://other.example.org");
        let with_secret = {
            // The public key as an HMAC secret: the oldest trick.
            let public = Jwk::from_encoding_key(&tokens(1).signing, Algorithm::EdDSA).unwrap();
            let public = serde_json::to_value(public).unwrap()["x"].as_str().unwrap().to_owned();
            let secret = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(public).unwrap());
            let claims = tokens(1).check(&good).unwrap();
            encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap()
        };
        for bad in [
            tokens(2).sign(account_id, session_id, now),
            other_install.sign(account_id, session_id, now),
            with_secret,
            format!("{}.{claims}.", header(r#"{"alg":"none","typ":"JWT"}"#)),
            format!("{}.{claims}.{signature}", header(r#"{"alg":"HS256","typ":"JWT"}"#)),
            format!("{body}."),
            body.to_owned(),
            String::new(),
            "a.b.c".to_owned(),
        ] {
            assert_eq!(tokens(1).check(&bad), Err(TokenRefused::Invalid), "{bad}");
        }
    }
}
