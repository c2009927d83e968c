//! Who is let in, and who is cut off.

use std::sync::Arc;
use std::time::Duration;

use identity::{CredentialSource as _, Credentials, RefusalReason, refusal_reason, refusal_reason_of_alert};
use quinn::ConnectionError;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use test_authority::{Authority, Holder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::fixture::{BoxError, By, Outcome, Served, held, says, within};
use crate::{http3_client, tcp_client};

/// Returns the alert that a client over TCP is sent after its own handshake is done.
async fn refusal_by_tcp(served: &Served, config: Arc<ClientConfig>) -> Result<RefusalReason, BoxError> {
    let mut tls = tcp_client::connect(served.address(), config).await?;
    // What a client does that believes it is connected.
    tls.write_all(&[0; 32 * 1024]).await?;
    let error = within("the refusal", tls.read_to_end(&mut Vec::new())).await.expect_err("it is refused");
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
    let refusal = refusal_reason(alert.ok_or_else(|| format!("no alert but {error}"))?);
    // The server still reads. Had it closed, the first of these would be answered with a reset, and the second fail.
    let (mut tcp, _) = tls.into_inner();
    tcp.write_all(b"late").await?;
    tcp.write_all(b"later").await?;
    Ok(refusal)
}

/// Returns why a client over QUIC is refused, in the same words.
async fn refusal_by_quic(served: &Served, config: Arc<ClientConfig>) -> Result<RefusalReason, BoxError> {
    let connection = http3_client::dial_with(served.address(), config).await?;
    match within("the refusal", connection.closed()).await {
        ConnectionError::ConnectionClosed(close) => {
            let alert = u8::try_from(u64::from(close.error_code) - 0x100)?;
            Ok(refusal_reason_of_alert(alert, str::from_utf8(&close.reason)?))
        }
        other => Err(other.into()),
    }
}

async fn check_refused(served: &Served, credentials: &Credentials, reason: RefusalReason) -> Outcome {
    assert_eq!(refusal_by_tcp(served, credentials.client_config(&[b"h2"])).await?, reason, "over TCP");
    assert_eq!(refusal_by_quic(served, credentials.client_config(&[b"h3"])).await?, reason, "over QUIC");
    Ok(())
}

#[tokio::test]
async fn strangers_read_why_they_are_refused() -> Outcome {
    let served = Served::start()?;
    let theirs = Authority::new()?;
    let stranger = Holder { also_trusts: vec![served.authority.trust_bundle_pem()], ..Holder::new("stranger") };
    check_refused(&served, &*theirs.credentials_with(&stranger)?, RefusalReason::UnknownCa).await?;
    let hour = Duration::from_secs(3600);
    let late = Holder { age: 3 * hour, lifetime: hour, ..Holder::new("late") };
    check_refused(&served, &*served.authority.credentials_with(&late)?, RefusalReason::Expired).await?;
    let neighbour = Holder { cluster: "other".to_owned(), ..Holder::new("neighbour") };
    check_refused(&served, &*served.authority.credentials_with(&neighbour)?, RefusalReason::AccessDenied).await?;
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
    check_refused(&served, &credentials, RefusalReason::Revoked).await
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
    let anonymous = |alpn| {
        let mut config = (*credentials.client_config(&[alpn])).clone();
        config.client_auth_cert_resolver = Arc::new(Nobody);
        Arc::new(config)
    };
    assert_eq!(refusal_by_tcp(&served, anonymous(b"h2")).await?, RefusalReason::NoCertificate);
    assert_eq!(refusal_by_quic(&served, anonymous(b"h3")).await?, RefusalReason::NoCertificate);
    assert_eq!(served.echo.calls().begun, 0);
    Ok(())
}

#[tokio::test]
async fn a_client_that_would_resume_its_session_shows_its_certificate_again() -> Outcome {
    let served = Served::start()?;
    let mut resuming = (*served.authority.credentials("client")?.client_config(&[b"h2"])).clone();
    resuming.resumption = Resumption::in_memory_sessions(8);
    let resuming = Arc::new(resuming);
    for _ in 0..2 {
        let mut tls = tcp_client::connect(served.address(), Arc::clone(&resuming)).await?;
        // The head of the server's first frame: a ticket would have come before it.
        within("settings", tls.read_exact(&mut [0; 9])).await?;
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
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
