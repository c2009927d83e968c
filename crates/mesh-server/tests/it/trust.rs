//! Who is let in, and who is cut off.

use std::sync::Arc;
use std::time::Duration;

use identity::{CredentialSource as _, Credentials, RefusalReason, refusal_reason, refusal_reason_of_alert};
use quinn::ConnectionError;
use test_authority::{Authority, Holder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::fixture::{BoxError, By, Outcome, Served, held, says, within};
use crate::{http3_client, tcp_client};

/// Returns the alert that a client over TCP is sent after its own handshake is done; `None` if it is just hung up on.
async fn refusal_by_tcp(served: &Served, credentials: &Credentials) -> Result<Option<RefusalReason>, BoxError> {
    let mut tls = tcp_client::connect(served.address(), credentials.client_config(&[b"h2"])).await?;
    // What a client does that believes it is connected.
    tls.write_all(&[0; 32 * 1024]).await?;
    let refusal = match within("the refusal", tls.read_to_end(&mut Vec::new())).await {
        Ok(_) => None,
        Err(error) => {
            let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
            Some(refusal_reason(alert.ok_or_else(|| format!("no alert but {error}"))?))
        }
    };
    // The server still reads. Had it closed, the first of these would be answered with a reset, and the second fail.
    let (mut tcp, _) = tls.into_inner();
    tcp.write_all(b"late").await?;
    tcp.write_all(b"later").await?;
    Ok(refusal)
}

/// Returns why a client over QUIC is refused, in the same words.
async fn refusal_by_quic(served: &Served, credentials: &Credentials) -> Result<Option<RefusalReason>, BoxError> {
    let connection = http3_client::dial(served.address(), credentials).await?;
    match within("the refusal", connection.closed()).await {
        ConnectionError::ConnectionClosed(close) => {
            let alert = u8::try_from(u64::from(close.error_code) - 0x100)?;
            Ok(Some(refusal_reason_of_alert(alert, str::from_utf8(&close.reason)?)))
        }
        ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 0x131 => Ok(None),
        other => Err(other.into()),
    }
}

async fn check_refused(served: &Served, credentials: &Credentials, reason: Option<RefusalReason>) -> Outcome {
    assert_eq!(refusal_by_tcp(served, credentials).await?, reason, "over TCP");
    assert_eq!(refusal_by_quic(served, credentials).await?, reason, "over QUIC");
    Ok(())
}

#[tokio::test]
async fn strangers_read_why_they_are_refused() -> Outcome {
    let served = Served::start()?;
    let theirs = Authority::new()?;
    let stranger = Holder { also_trusts: vec![served.authority.trust_bundle_pem()], ..Holder::new("stranger") };
    check_refused(&served, &*theirs.credentials_with(&stranger)?, Some(RefusalReason::UnknownCa)).await?;
    let hour = Duration::from_secs(3600);
    let late = Holder { age: 3 * hour, lifetime: hour, ..Holder::new("late") };
    check_refused(&served, &*served.authority.credentials_with(&late)?, Some(RefusalReason::Expired)).await?;
    let neighbour = Holder { cluster: "other".to_owned(), ..Holder::new("neighbour") };
    // Its certificate is good, so TLS has nothing against it.
    check_refused(&served, &*served.authority.credentials_with(&neighbour)?, None).await?;
    assert_eq!(served.echo.calls().begun, 0);
    Ok(())
}

/// Somebody who is let in, and whose certificate is revoked in the middle of a call.
async fn check_revoked(by: By) -> Outcome {
    let served = Served::start()?;
    let holder = Holder::new("client");
    let issued = served.authority.issue(&holder)?;
    let credentials = served.authority.credentials_of(&issued, &holder)?;
    let mut revoked = served.client_of(by, &credentials).await?;
    let mut other = served.client(by).await?;
    assert_eq!(revoked.unary(says("a")).await?.into_inner().payload, "a");
    assert_eq!(other.unary(says("a")).await?.into_inner().payload, "a");
    let list = served.authority.revoke(1, [&issued])?;
    let learning = async {
        served.echo.wait_for(|calls| calls.begun == 3).await;
        let ours = served.credentials.revocations();
        ours.learn(list.der(), &served.credentials.current())
    };
    let (answered, learnt) =
        within("the end of the call", async { tokio::join!(revoked.unary(held()), learning) }).await;
    learnt?;
    answered.expect_err("its caller is revoked");
    within("the handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;
    served.wait_for_connections(1).await;
    assert_eq!(other.unary(says("b")).await?.into_inner().payload, "b");
    check_refused(&served, &credentials, Some(RefusalReason::Revoked)).await
}

#[tokio::test]
async fn a_revoked_client_is_cut_off_and_does_not_come_back() -> Outcome {
    check_revoked(By::Http2).await?;
    check_revoked(By::Http3).await
}

/// A server whose CA is replaced: first both are trusted, then the certificate is of the new one, then the old is dropped.
async fn check_rotation(by: By) -> Outcome {
    let served = Served::start()?;
    let new_ca = Authority::new()?;
    let old_client = served.authority.credentials("client")?;
    let mut old = served.client_of(by, &old_client).await?;
    let both = Holder { also_trusts: vec![new_ca.trust_bundle_pem()], ..Holder::new("server") };
    served.credentials.replace(&*served.authority.credentials_with(&both)?)?;
    let trusting = Holder { also_trusts: vec![served.authority.trust_bundle_pem()], ..Holder::new("new-client") };
    let new_client = new_ca.credentials_with(&trusting)?;
    let mut new = served.client_of(by, &new_client).await?;
    assert_eq!(new.unary(says("new")).await?.into_inner().payload, "new");
    assert_eq!(old.unary(says("old")).await?.into_inner().payload, "old");
    assert_eq!(served.handle.connections().len(), 2);
    served.credentials.replace(&*new_ca.credentials("server")?)?;
    served.wait_for_connections(1).await;
    assert_eq!(new.unary(says("new")).await?.into_inner().payload, "new");
    let status = old.unary(says("old")).await.expect_err("its CA is no longer trusted");
    assert_ne!(status.code(), Code::Ok);
    let names: Vec<_> = served.handle.connections().iter().map(|peer| peer.spiffe_id().node().to_string()).collect();
    assert_eq!(names, ["new-client"]);
    Ok(())
}

#[tokio::test]
async fn a_ca_is_replaced_while_calls_go_on() -> Outcome {
    check_rotation(By::Http2).await?;
    check_rotation(By::Http3).await
}

#[tokio::test]
async fn a_sweep_finds_nobody_while_all_are_trusted() -> Outcome {
    let served = Served::start()?;
    let _client = served.client(By::Http3).await?;
    served.wait_for_connections(1).await;
    assert_eq!(served.handle.sweep(), 0);
    Ok(())
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_to_bring_one() -> Outcome {
    let served = Served::start()?;
    let credentials = served.authority.credentials("client")?;
    let mut anonymous = (*credentials.client_config(&[b"h2"])).clone();
    anonymous.client_auth_cert_resolver = Arc::new(Nobody);
    let mut tls = tcp_client::connect(served.address(), Arc::new(anonymous)).await?;
    let error = within("the refusal", tls.read_to_end(&mut Vec::new())).await.expect_err("it is refused");
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref()).ok_or("no alert")?;
    assert_eq!(refusal_reason(alert), RefusalReason::NoCertificate);
    Ok(())
}

/// Has no certificate to show.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
