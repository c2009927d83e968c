//! Credentials that take the place of others.

use std::sync::Arc;

use identity::{CredentialSource, Credentials, Learnt, ReplaceCredentialsError, SharedCredentials, live_server_config};

use crate::support::{ALPN, a_century, ca, connect, id, member, node};

/// What every source of credentials keeps: `replace` makes it have others.
async fn check_source(source: &dyn CredentialSource, replace: impl Fn()) {
    let first = source.current();
    replace();
    let second = source.changed(&first).await;
    assert!(!second.shows_same_certificate(&first));
    assert!(Arc::ptr_eq(&second, &source.current()));
    // Who was away for several changes gets the last one, and who is not up to date is told at once.
    replace();
    replace();
    let last = source.changed(&second).await;
    assert!(Arc::ptr_eq(&last, &source.current()));
    assert!(Arc::ptr_eq(&last, &source.changed(&first).await));
    assert_eq!(last.spiffe_id(), first.spiffe_id());
}

#[tokio::test]
async fn who_waits_is_told_of_new_credentials() {
    let ca = ca();
    let shared = SharedCredentials::new(node(&ca, "node-a"));
    check_source(&shared, || shared.replace(&node(&ca, "node-a")).unwrap()).await;
}

#[test]
fn a_certificate_of_another_node_takes_nobodys_place() {
    let ca = ca();
    let shared = SharedCredentials::new(node(&ca, "node-a"));
    let before = shared.current();
    let error = shared.replace(&node(&ca, "node-b")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("certificate is of {}, this is {}", id("alpha", "node-b"), id("alpha", "node-a"))
    );
    assert!(Arc::ptr_eq(&before, &shared.current()));
}

#[test]
fn revocations_outlive_the_credentials_they_were_learnt_with() {
    let ca = ca();
    let issue = || ca.issue(&id("alpha", "node-a"), a_century()).unwrap();
    let from = |issued: &bootstrap::Issued| {
        let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
        Credentials::from_pem(certificate, key, ca.trust_bundle_pem().as_bytes(), crate::support::now()).unwrap()
    };
    let (first, second) = (issue(), issue());
    let shared = SharedCredentials::new(from(&first));
    let list = ca.revocation_list(1, [&first, &second], a_century()).unwrap();
    let learnt = shared.revocations().learn(list.der(), &shared.current()).unwrap();
    assert_eq!(learnt, Learnt::New { revoked: 2 });
    assert!(shared.current().is_revoked());

    let error = shared.replace(&from(&second)).unwrap_err();
    assert!(matches!(error, ReplaceCredentialsError::Revoked { .. }), "{error}");
    // The bundle may change even so: it is the same certificate.
    shared.replace(&from(&first)).unwrap();
    shared.replace(&from(&issue())).unwrap();
    assert!(!shared.current().is_revoked());
    assert_eq!(shared.current().revocations().heads().len(), 1);
}

#[test]
fn a_listener_with_one_configuration_shows_and_trusts_what_is_current() {
    let (old, new) = (ca(), ca());
    let shared = Arc::new(SharedCredentials::new(node(&old, "node-b")));
    let listener = live_server_config(Arc::clone(&shared) as _, ALPN);
    let errors = |client: &Credentials| {
        let (client, server) = connect(client.client_config(ALPN), Arc::clone(&listener));
        (client.error, server.error)
    };
    let (before, after) = (node(&old, "node-a"), node(&new, "node-a"));
    assert_eq!(errors(&before), (None, None));
    shared.replace(&member(&new, &id("alpha", "node-b"), &new.trust_bundle_pem())).unwrap();
    assert_eq!(errors(&after), (None, None));
    assert!(matches!(errors(&before), (Some(_), Some(_))), "a CA that is no longer trusted");
}
