//! Just enough of ELF to tell whether a program needs a loader.

use anyhow::{Context as _, ensure};

/// A program header that names the loader of shared libraries (`PT_INTERP`).
const INTERPRETER: u32 = 3;

/// Returns whether the 64-bit little-endian program in `image` is statically linked: no header names a loader.
///
/// # Errors
/// When `image` is no such program, or is cut short.
pub(super) fn is_static(image: &[u8]) -> anyhow::Result<bool> {
    ensure!(image.starts_with(b"\x7fELF\x02\x01"), "not a 64-bit little-endian ELF file");
    let table = usize::try_from(u64::from_le_bytes(bytes_at(image, 0x20)?))?;
    let entry_size = usize::from(u16::from_le_bytes(bytes_at(image, 0x36)?));
    let entries = usize::from(u16::from_le_bytes(bytes_at(image, 0x38)?));
    for entry in 0..entries {
        let at = table.checked_add(entry * entry_size).context("the program headers lie outside the file")?;
        if u32::from_le_bytes(bytes_at(image, at)?) == INTERPRETER {
            return Ok(false);
        }
    }
    ensure!(entries > 0, "no program headers");
    Ok(true)
}

fn bytes_at<const N: usize>(image: &[u8], at: usize) -> anyhow::Result<[u8; N]> {
    let bytes = image.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().with_context(|| format!("cut short: nothing at byte {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a file of a header and one program header of each of `kinds`.
    fn image(kinds: &[u32]) -> Vec<u8> {
        const TABLE: usize = 64;
        const ENTRY: usize = 56;
        let mut image = vec![0; TABLE + ENTRY * kinds.len()];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[0x20] = 64;
        image[0x36] = 56;
        image[0x38] = u8::try_from(kinds.len()).expect("few headers");
        for (entry, kind) in kinds.iter().enumerate() {
            image[TABLE + entry * ENTRY..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        image
    }

    #[test]
    fn a_program_without_a_loader_is_static() {
        assert!(is_static(&image(&[1, 2])).expect("a program"));
        assert!(!is_static(&image(&[1, 3, 2])).expect("a program"));
        assert!(!is_static(&image(&[1, 2, 3])).expect("a program"));
    }

    #[test]
    fn a_dynamic_program_is_told() {
        let this = std::env::current_exe().expect("a path");
        let is_static = is_static(&std::fs::read(this).expect("a program")).expect("a program");
        assert_eq!(is_static, cfg!(target_feature = "crt-static"));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let image = image(&[1, 2]);
        let cut = &image[..image.len() - 56];
        assert_eq!(is_static(cut).expect_err("cut").to_string(), "cut short: nothing at byte 120");
        assert_eq!(is_static(b"#!/bin/sh").expect_err("a script").to_string(), "not a 64-bit little-endian ELF file");
    }
}
