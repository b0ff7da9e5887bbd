//! Signing in by SCRAM.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kwsync_core::config::Secret;
use kwsync_core::{Error, ErrorKind, Result};
use md5::{Digest, Md5};
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};

use super::bson::hex;

/// The most rounds that a server may ask for: more would only keep us busy.
const MOST_ROUNDS: u32 = 10_000_000;
/// Fewer are not worth their name.
const LEAST_ROUNDS: u32 = 4096;

/// The two mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Sha1,
    Sha256,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }

    fn rounds(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        }
    }

    /// The password as the mechanism takes it.
    fn password(self, user: &str, password: &str) -> Result<String> {
        match self {
            // What servers before SCRAM kept.
            Self::Sha1 => Ok(hex(&Md5::digest(format!("{user}:mongo:{password}").as_bytes()))),
            Self::Sha256 => stringprep::saslprep(password)
                .map(|prepared| prepared.into_owned())
                .map_err(|_| Error::config("the password holds characters that SCRAM does not take")),
        }
    }
}

/// A conversation on its way.
pub(super) struct Scram {
    mechanism: Mechanism,
    password: Secret,
    nonce: String,
    first: String,
    /// What the server must answer in the end.
    signature: Vec<u8>,
}

impl Scram {
    pub(super) fn new(mechanism: Mechanism, user: &str, password: &Secret) -> Result<Self> {
        let mut random = [0_u8; 24];
        ring::rand::SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| Error::new(ErrorKind::Internal, "there are no random numbers"))?;
        Self::with_nonce(mechanism, user, password, &STANDARD.encode(random))
    }

    fn with_nonce(mechanism: Mechanism, user: &str, password: &Secret, nonce: &str) -> Result<Self> {
        let called = user.replace('=', "=3D").replace(',', "=2C");
        Ok(Self {
            mechanism,
            password: Secret::new(mechanism.password(user, password.expose())?),
            nonce: nonce.to_owned(),
            first: format!("n={called},r={nonce}"),
            signature: Vec::new(),
        })
    }

    /// What is sent first.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first)
    }

    /// What is sent behind the server's first answer.
    pub(super) fn proof(&mut self, answer: &str) -> Result<String> {
        let part = |name: &str| answer.split(',').find_map(|part| part.strip_prefix(name));
        let wrong = |what: &str| {
            Error::new(ErrorKind::Protocol, format!("the server does not sign in as it should: {what}"))
        };
        let nonce =
            part("r=").filter(|nonce| nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len());
        let nonce = nonce.ok_or_else(|| wrong("it is not our conversation"))?;
        let salt = part("s=")
            .and_then(|salt| STANDARD.decode(salt).ok())
            .ok_or_else(|| wrong("there is no salt"))?;
        let rounds = part("i=").and_then(|rounds| rounds.parse::<u32>().ok());
        let rounds = rounds.filter(|rounds| (LEAST_ROUNDS..=MOST_ROUNDS).contains(rounds));
        let rounds = rounds
            .and_then(NonZeroU32::new)
            .ok_or_else(|| wrong("it asks for too few rounds, or too many"))?;
        let length = self.mechanism.digest().output_len();
        let mut salted = vec![0; length];
        pbkdf2::derive(
            self.mechanism.rounds(),
            rounds,
            &salt,
            self.password.expose().as_bytes(),
            &mut salted,
        );
        let key = hmac::Key::new(self.mechanism.hmac(), &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let stored = digest::digest(self.mechanism.digest(), client_key.as_ref());
        let last = format!("c=biws,r={nonce}");
        let signed = format!("{},{answer},{last}", self.first);
        let signature =
            hmac::sign(&hmac::Key::new(self.mechanism.hmac(), stored.as_ref()), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server = hmac::sign(&key, b"Server Key");
        let server = hmac::Key::new(self.mechanism.hmac(), server.as_ref());
        self.signature = hmac::sign(&server, signed.as_bytes()).as_ref().to_vec();
        Ok(format!("{last},p={}", STANDARD.encode(proof)))
    }

    /// Makes sure that the server knows the password, too.
    pub(super) fn check(&self, answer: &str) -> Result<()> {
        let given = answer
            .split(',')
            .find_map(|part| part.strip_prefix("v="))
            .and_then(|part| STANDARD.decode(part).ok());
        if given.is_some_and(|given| given == self.signature) && !self.signature.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Auth, "the server does not prove that it knows the password")
            .with_hint("somebody may be between it and us: use TLS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversations that RFC 7677 and the specification of MongoDB's drivers print.
    #[test]
    fn printed_conversations() {
        let secret = Secret::new("pencil");
        let mut scram =
            Scram::with_nonce(Mechanism::Sha256, "user", &secret, "rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let proof = scram
            .proof("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
            .unwrap();
        assert_eq!(
            proof,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.check("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert_eq!(scram.check("v=AAAA").unwrap_err().kind(), ErrorKind::Auth);

        let mut scram =
            Scram::with_nonce(Mechanism::Sha1, "user", &secret, "fyko+d2lbbFgONRv9qkxdawL").unwrap();
        let proof = scram.proof("r=fyko+d2lbbFgONRv9qkxdawLHo+Vgk7qvUOKUwuWLIWg4l/9SraGMHEE,s=rQ9ZY3MntBeuP3E1TDVC4w==,i=10000").unwrap();
        assert!(proof.ends_with(",p=MC2T8BvbmWRckDw8oWl5IVghwCY="), "{proof}");
        scram.check("v=UMWeI25JD1yNYZRMpZ4VHvhZ9e0=").unwrap();
        for wrong in [
            "r=other,s=AA==,i=4096",
            "r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawLx,s=AA==,i=1",
            "",
        ] {
            scram.proof(wrong).unwrap_err();
        }
    }
}
