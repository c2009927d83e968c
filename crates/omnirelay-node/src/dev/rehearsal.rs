//! What it takes to rehearse a change of certificates and a revocation.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use bootstrap::{DevCa, Issued, Validity};

use super::error::DevError;
use super::workspace::{LIFETIME, TRUST_DOMAIN, issue_operator, worker};

/// The folder with everybody's second certificate.
const RENEWED: &str = "renewed";

/// Writes certificates as `dev --prepare` does, a second one for each node into a folder of its own, and three
/// revocation lists, each to replace the one before: of nobody, of all first certificates, and of the second one of
/// `last` besides.
pub(super) fn issue(names: &[String], last: &str, dir: &Path, now: SystemTime) -> Result<(), DevError> {
    let validity = Validity::starting(now, LIFETIME);
    let ca = DevCa::generate(TRUST_DOMAIN, validity)?;
    let renewed_dir = dir.join(RENEWED);
    fs::create_dir_all(&renewed_dir).map_err(DevError::Directory)?;
    let first = issue_all(&ca, names, validity, dir)?;
    let second = issue_all(&ca, names, validity, &renewed_dir)?;
    issue_operator(&ca, validity, dir)?;
    let place = names.iter().position(|name| name == last).and_then(|place| second.get(place));
    let revoked = place.ok_or_else(|| unknown(names, last))?;
    let lists: [Vec<&Issued>; 3] =
        [Vec::new(), first.iter().collect(), first.iter().chain(std::iter::once(revoked)).collect()];
    for (number, list) in (0..).zip(lists) {
        let signed = ca.revocation_list(number + 1, list, validity)?;
        let path = dir.join(format!("revoked-{number}.crl"));
        fs::write(&path, signed.pem()).map_err(|source| DevError::Write { path, source })?;
    }
    Ok(())
}

fn issue_all(ca: &DevCa, names: &[String], validity: Validity, dir: &Path) -> Result<Vec<Issued>, DevError> {
    let issue = |name: &String| {
        let id = worker(name)?;
        let issued = ca.issue(&id, validity)?;
        ca.write_files(&issued, &id, dir)?;
        Ok(issued)
    };
    names.iter().map(issue).collect()
}

fn unknown(names: &[String], name: &str) -> DevError {
    let ends = (names.first().cloned().unwrap_or_default(), names.last().cloned().unwrap_or_default());
    DevError::Unknown { name: name.to_owned(), names: Box::new(ends) }
}
