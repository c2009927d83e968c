//! Certificates that were revoked, and the lists that say so.

use bootstrap::{DevCa, Issued, SignedRevocations, Validity};
use identity::{
    Credentials, LearnRevocationsError, Learnt, RefusalReason, RevocationFileError, Revocations, Side, StaleLists,
};

use crate::support::{a_century, ca, connect_nodes, id, node, now, year};

/// Two nodes of one CA; what `a` shows can be revoked.
struct Pair {
    ca: DevCa,
    certificate_of_a: Issued,
    a: Credentials,
    b: Credentials,
}

impl Pair {
    fn new() -> Self {
        let ca = ca();
        let certificate_of_a = ca.issue(&id("alpha", "node-a"), a_century()).expect("a certificate");
        let a = credentials(&certificate_of_a, &ca.trust_bundle_pem());
        let b = node(&ca, "node-b");
        Self { ca, certificate_of_a, a, b }
    }

    /// List `number`, which revokes what `a` shows and holds for a century.
    fn list(&self, number: u64) -> SignedRevocations {
        list(&self.ca, number, [&self.certificate_of_a])
    }

    fn learn(&self, list: &SignedRevocations) -> Result<Learnt, LearnRevocationsError> {
        self.b.revocations().learn(list.der(), &self.b)
    }

    /// Why `a` is refused: as `b`'s client, as `b`'s server, and on a connection that was open before.
    fn refused(&self) -> [Option<RefusalReason>; 3] {
        let (_, as_client) = connect_nodes(&self.a, &self.b);
        let (as_server, _) = connect_nodes(&self.b, &self.a);
        let (_, opened) = connect_nodes(&self.a, &node(&self.ca, "node-c"));
        let open = self.b.recheck(Side::Client, opened.chain(), now()).err().map(|error| error.reason());
        [as_client.reason(), as_server.reason(), open]
    }
}

fn credentials(issued: &Issued, bundle: &str) -> Credentials {
    let (certificate, key) = (issued.certificate_pem().as_bytes(), issued.key_pem().as_bytes());
    Credentials::from_pem(certificate, key, bundle.as_bytes(), now()).expect("credentials")
}

fn list<'a>(ca: &DevCa, number: u64, revoked: impl IntoIterator<Item = &'a Issued>) -> SignedRevocations {
    ca.revocation_list(number, revoked, a_century()).expect("a list")
}

#[test]
fn a_revoked_certificate_is_refused_on_both_sides_and_on_open_connections() {
    let pair = Pair::new();
    assert_eq!(pair.refused(), [None; 3]);
    assert_eq!(pair.learn(&pair.list(1)).unwrap(), Learnt::New { revoked: 1 });
    assert_eq!(pair.refused(), [Some(RefusalReason::Revoked); 3]);
}

#[test]
fn the_newest_list_of_a_ca_counts_and_there_is_no_way_back() {
    let pair = Pair::new();
    let (older, newer) = (pair.list(7), list(&pair.ca, 8, []));
    assert_eq!(pair.learn(&older).unwrap(), Learnt::New { revoked: 1 });
    assert_eq!(pair.learn(&newer).unwrap(), Learnt::New { revoked: 0 });
    assert_eq!(pair.refused(), [None; 3], "the newer list names nobody");
    assert_eq!(pair.learn(&older).unwrap(), Learnt::Known);
    assert_eq!(pair.learn(&newer).unwrap(), Learnt::Known);
    assert_eq!(pair.refused(), [None; 3]);
}

#[test]
fn a_list_counts_only_with_the_signature_of_a_trusted_ca() {
    let (pair, stranger) = (Pair::new(), ca());
    let reason = |result: Result<Learnt, LearnRevocationsError>| result.unwrap_err().reason();
    let forged = list(&stranger, 1, [&pair.certificate_of_a]);
    assert_eq!(reason(pair.learn(&forged)), "unknown_issuer");
    // The name stands in the signed part: whoever writes the trusted CA's name into it breaks the signature.
    let mut tampered = pair.list(1).der().to_vec();
    let last = tampered.last_mut().unwrap();
    *last ^= 1;
    assert_eq!(reason(pair.b.revocations().learn(&tampered, &pair.b)), "bad_signature");
    assert_eq!(reason(pair.b.revocations().learn(b"no list", &pair.b)), "unsupported");
    let large = vec![0; Revocations::MAX_SPREAD_BYTES + 1];
    assert_eq!(reason(pair.b.revocations().learn(&large, &pair.b)), "oversize");
    assert_eq!(pair.refused(), [None; 3]);
    assert_eq!(pair.b.revocations().version(), 0);
}

#[test]
fn no_bit_of_a_list_can_be_changed() {
    let pair = Pair::new();
    let signed = pair.list(1);
    for index in 0..signed.der().len() {
        for bit in 0..8 {
            let mut changed = signed.der().to_vec();
            changed[index] ^= 1 << bit;
            let learnt = pair.b.revocations().learn(&changed, &pair.b);
            assert!(learnt.is_err(), "bit {bit} of byte {index} was changed");
        }
    }
    assert_eq!(pair.refused(), [None; 3]);
}

#[test]
fn a_list_that_is_cut_short_is_none() {
    let pair = Pair::new();
    let signed = pair.list(1);
    for length in 0..signed.der().len() {
        assert!(pair.b.revocations().learn(&signed.der()[..length], &pair.b).is_err(), "{length} bytes");
    }
}

#[test]
fn a_ca_revokes_its_own_certificates_only() {
    let (ours, theirs) = (ca(), ca());
    let both = format!("{}{}", ours.trust_bundle_pem(), theirs.trust_bundle_pem());
    let issue = |ca: &DevCa, name| credentials(&ca.issue(&id("alpha", name), a_century()).unwrap(), &both);
    let certificate = ours.issue(&id("alpha", "node-a"), a_century()).unwrap();
    let (a, b) = (credentials(&certificate, &both), issue(&theirs, "node-b"));
    b.revocations().learn(list(&theirs, 1, [&certificate]).der(), &b).unwrap();
    assert_eq!(connect_nodes(&a, &b).1.reason(), None);
    b.revocations().learn(list(&ours, 1, [&certificate]).der(), &b).unwrap();
    assert_eq!(connect_nodes(&a, &b).1.reason(), Some(RefusalReason::Revoked));
}

#[test]
fn lists_of_two_cas_count_side_by_side_and_each_is_passed_on_where_it_is_lacking() {
    let (ours, theirs) = (ca(), ca());
    let both = format!("{}{}", ours.trust_bundle_pem(), theirs.trust_bundle_pem());
    let here = credentials(&ours.issue(&id("alpha", "node-a"), a_century()).unwrap(), &both);
    let there = credentials(&theirs.issue(&id("alpha", "node-b"), a_century()).unwrap(), &both);
    let (first, second, third) = (list(&ours, 1, []), list(&theirs, 5, []), list(&ours, 2, []));
    for signed in [&first, &second] {
        here.revocations().learn(signed.der(), &here).unwrap();
    }
    there.revocations().learn(third.der(), &there).unwrap();

    let (have, want) = (here.revocations(), there.revocations());
    assert_eq!(have.newer_than(&want.heads()), [second.der()]);
    assert_eq!(want.newer_than(&have.heads()), [third.der()]);
    assert_eq!((have.is_behind(&want.heads()), want.is_behind(&have.heads())), (true, true));
    for signed in have.newer_than(&want.heads()) {
        want.learn(&signed, &there).unwrap();
    }
    have.learn(third.der(), &here).unwrap();
    assert_eq!(have.heads(), want.heads());
    assert!(!have.is_behind(&want.heads()) && have.newer_than(&want.heads()).is_empty());
}

#[test]
fn an_overdue_list_still_revokes_and_stops_others_only_where_that_is_wanted() {
    let pair = Pair::new();
    let overdue = Validity { not_before: year(2020), not_after: year(2021) };
    let signed = pair.ca.revocation_list(1, [], overdue).unwrap();
    pair.learn(&signed).unwrap();
    assert_eq!(pair.refused(), [None; 3]);
    let strict = Revocations::new(StaleLists::Refuse);
    let b = pair.b.with_revocations(&strict);
    assert_eq!(connect_nodes(&pair.a, &b).1.reason(), None, "without a list nobody is refused");
    strict.learn(signed.der(), &b).unwrap();
    let stale = Some(RefusalReason::StaleRevocations);
    assert_eq!((connect_nodes(&pair.a, &b).1.reason(), connect_nodes(&b, &pair.a).0.reason()), (stale, stale));
    // A revocation is told as what it is, overdue or not.
    let revoking = pair.ca.revocation_list(2, [&pair.certificate_of_a], overdue).unwrap();
    strict.learn(revoking.der(), &b).unwrap();
    assert_eq!(connect_nodes(&pair.a, &b).1.reason(), Some(RefusalReason::Revoked));
}

#[test]
fn a_file_holds_lists_in_pem_or_one_in_der_and_may_have_one_of_a_ca_to_come() {
    let (pair, to_come) = (Pair::new(), ca());
    let known = pair.b.revocations();
    let ours = pair.list(1);
    let both = format!("{}{}", ours.pem(), list(&to_come, 1, []).pem());
    assert_eq!(known.learn_file(both.as_bytes(), &pair.b).unwrap(), 2);
    assert_eq!(known.learn_file(both.as_bytes(), &pair.b).unwrap(), 0, "nothing is news twice");
    assert_eq!(known.newer_than(&[]), [ours.der()], "what nobody has vouched for is not passed on");
    assert_eq!(known.learn_file(list(&pair.ca, 2, []).der(), &pair.b).unwrap(), 1);
    assert_eq!(pair.refused(), [None; 3]);

    // Once its CA is trusted, it is passed on.
    let bundle = format!("{}{}", pair.ca.trust_bundle_pem(), to_come.trust_bundle_pem());
    let trusting = credentials(&pair.certificate_of_a, &bundle).with_revocations(known);
    assert_eq!(known.learn_file(both.as_bytes(), &trusting).unwrap(), 1);
    assert_eq!(known.newer_than(&[]).len(), 2);
}

#[test]
fn a_file_with_a_fault_changes_nothing() {
    let pair = Pair::new();
    let learn = |bytes: &[u8]| pair.b.revocations().learn_file(bytes, &pair.b).unwrap_err();
    assert!(matches!(learn(b""), RevocationFileError::Empty));
    assert!(matches!(learn(b"-----BEGIN X509 CRL-----\n"), RevocationFileError::Pem { .. }));
    assert!(matches!(learn(&[0; 1024 * 1024 + 1]), RevocationFileError::TooLarge { limit: 1_048_576 }));
    let mut forged = pair.list(2).der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(
        learn(&forged),
        RevocationFileError::List { position: 1, source: LearnRevocationsError::BadSignature }
    ));
    assert_eq!(pair.b.revocations().version(), 0);
}

#[test]
fn a_node_knows_that_it_was_revoked_itself() {
    let pair = Pair::new();
    assert!(!pair.a.is_revoked());
    pair.a.revocations().learn(pair.list(1).der(), &pair.a).unwrap();
    assert!(pair.a.is_revoked());
}
