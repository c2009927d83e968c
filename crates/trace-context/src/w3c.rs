//! The two headers (W3C Trace Context, level 2).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` that is handed on (§3.3.1.5).
const STATE_BYTES_MAX: usize = 512;

/// Returns the span that `headers` tell of. More than one is as good as none.
pub(crate) fn read(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(&TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let Ok(text) = parent.to_str() else { return None };
    let (trace, span, flags) = parse(text)?;
    let context = SpanContext::new(trace, span, flags, true, state(headers));
    context.is_valid().then_some(context)
}

fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let (trace, span, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
    // Later versions may say more at the end; the first does not.
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    match (TraceId::from_hex(trace), SpanId::from_hex(span), u8::from_str_radix(flags, 16)) {
        (Ok(trace), Ok(span), Ok(flags)) => Some((trace, span, TraceFlags::new(flags) & TraceFlags::SAMPLED)),
        _ => None,
    }
}

fn hex(part: &str, length: usize) -> Option<&str> {
    let is_hex = part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then_some(part)
}

/// Returns what vendors have added, or nothing if that cannot be read or is too long.
fn state(headers: &HeaderMap) -> TraceState {
    let mut whole = String::new();
    for value in headers.get_all(&TRACESTATE) {
        let Ok(part) = value.to_str() else { return TraceState::NONE };
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(part);
        if whole.len() > STATE_BYTES_MAX {
            return TraceState::NONE;
        }
    }
    whole.parse().unwrap_or(TraceState::NONE)
}

pub(crate) fn write(context: &SpanContext, headers: &mut HeaderMap) {
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags() & TraceFlags::SAMPLED);
    let parent = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}")).expect("digits, letters and hyphens");
    headers.insert(TRACEPARENT, parent);
    // It belongs to the other header.
    headers.remove(&TRACESTATE);
    let state = context.trace_state().header();
    if !state.is_empty()
        && let Ok(state) = HeaderValue::try_from(state)
    {
        headers.insert(TRACESTATE, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(parents: &[&str], states: &[&str]) -> HeaderMap {
        let of = |name: HeaderName, values: &[&str]| {
            let values = values.iter().map(|value| HeaderValue::from_str(value).expect("a header value"));
            values.map(|value| (name.clone(), value)).collect::<Vec<_>>()
        };
        of(TRACEPARENT, parents).into_iter().chain(of(TRACESTATE, states)).collect()
    }

    /// What is written of what was read.
    fn handed_on(parents: &[&str], states: &[&str]) -> Option<HeaderMap> {
        let mut written = headers(&["00-stale"], &["stale=1"]);
        write(&read(&headers(parents, states))?, &mut written);
        Some(written)
    }

    #[test]
    fn what_is_read_is_handed_on_as_it_was() {
        assert_eq!(handed_on(&[PARENT], &[]), Some(headers(&[PARENT], &[])));
        let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert_eq!(handed_on(&[unsampled], &["a=1,b=2"]), Some(headers(&[unsampled], &["a=1,b=2"])));
        assert_eq!(handed_on(&[PARENT], &["a=1", "b=2"]), Some(headers(&[PARENT], &["a=1,b=2"])));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-what-the-future-holds";
        assert_eq!(handed_on(&[later], &[]), Some(headers(&[PARENT], &[])));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for wrong in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01",
        ] {
            assert_eq!(read(&headers(&[wrong], &[])), None, "{wrong:?}");
        }
        assert_eq!(read(&headers(&[], &["a=1"])), None);
        assert_eq!(read(&headers(&[PARENT, PARENT], &[])), None);
    }

    #[test]
    fn a_state_that_is_none_or_too_long_is_left_out() {
        let long = format!("a={}", "x".repeat(STATE_BYTES_MAX));
        for state in ["no state", &long] {
            assert_eq!(handed_on(&[PARENT], &[state]), Some(headers(&[PARENT], &[])), "{state}");
        }
    }
}
