//! One order (RFC 8555 s7.4): the authority validates the domain, then it signs a certificate for a new key.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::sign::CertifiedKey;

use super::error::AcmeError;
use crate::accept::tls::resolver::{CertificateResolver, ChallengeGuard};
use crate::accept::tls::{TlsError, provider};
use crate::config::AcmeSettings;

/// How the state of an order is asked for.
const POLLS: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(180));

/// The new certificate: its chain and its key, as PEM.
pub(super) async fn run(
    account: &Account,
    settings: &AcmeSettings,
    resolver: &CertificateResolver,
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<String, AcmeError> {
    let identifiers = [Identifier::Dns(settings.domain.clone())];
    let mut new = NewOrder::new(&identifiers);
    if let Some(profile) = &settings.profile {
        new = new.profile(profile);
    }
    if let Some(replaces) = replaces {
        new = new.replaces(replaces);
    }
    if let Some(profile) = &settings.profile {
        // A server without profiles would sign another kind of certificate without a word.
        let mut offered: Vec<String> = account.profiles().map(|offered| offered.name.to_owned()).collect();
        if !offered.contains(profile) {
            offered.sort();
            return Err(AcmeError::Profile { profile: profile.clone(), offered });
        }
    }
    let mut order = account.new_order(&new).await?;
    let answering = authorize(&mut order, settings, resolver).await?;
    let ready = order.poll_ready(&POLLS).await;
    drop(answering);
    match ready {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(reason(&mut order).await.unwrap_or(AcmeError::Unexplained)),
        Err(error) => {
            return Err(match error {
                instant_acme::Error::Api(problem) if order.state().status == OrderStatus::Invalid => {
                    // That of the challenge is more exact: it names the address that was tried.
                    reason(&mut order).await.unwrap_or(AcmeError::Invalid(problem))
                }
                // The validation may still fail.
                instant_acme::Error::Timeout(_) => AcmeError::TimedOut,
                other => other.into(),
            });
        }
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![settings.domain.clone()])?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&POLLS).await.map_err(|error| match error {
        // It may still be issued.
        instant_acme::Error::Timeout(_) => AcmeError::TimedOut,
        other => other.into(),
    })?;
    Ok(format!("{}\n{}", chain.trim_end(), key.serialize_pem()))
}

/// Answers the challenges that the server wants to validate, as long as the guard exists.
async fn authorize<'a>(
    order: &mut Order,
    settings: &AcmeSettings,
    resolver: &'a CertificateResolver,
) -> Result<Option<ChallengeGuard<'a>>, AcmeError> {
    let mut guard = None;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // The server remembers an earlier validation for some time.
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::TlsAlpn01).ok_or(AcmeError::NoChallenge)?;
        let answer = answer(&settings.domain, challenge.key_authorization().digest().as_ref())?;
        drop(guard.take());
        guard = Some(resolver.answer_challenge(&settings.domain, answer));
        challenge.set_ready().await.map_err(AcmeError::of_validation)?;
    }
    Ok(guard)
}

/// The certificate that proves it: for the domain, with the digest of the key authorization (RFC 8737 s3).
fn answer(domain: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, AcmeError> {
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).map_err(TlsError::from)?;
    // Not `from_der`: it refuses the critical extension.
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

/// Why an order is invalid: the error of its challenge.
async fn reason(order: &mut Order) -> Option<AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        let Ok(state) = authorization.refresh().await else { continue };
        let problem: Option<Problem> = state.challenges.iter().find_map(|challenge| challenge.error.clone());
        if let Some(problem) = problem {
            return Some(AcmeError::Invalid(problem));
        }
    }
    None
}
