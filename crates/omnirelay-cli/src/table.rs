//! The members as a table, made from the answer of the API and nothing else.

use jiff::Timestamp;
use serde_json::Value;

/// Blanks between columns.
const GAP: usize = 3;
const MISSING: &str = "-";

/// One column: its title and its text for a member.
struct Column {
    title: &'static str,
    text: fn(&Value, &Context) -> String,
}

/// What the cells need beside their member.
struct Context {
    generated_at: Option<Timestamp>,
}

const COLUMNS: [Column; 9] = [
    Column { title: "NODE", text: |peer, _| text(peer, "/nodeId") },
    Column { title: STATUS, text: |peer, _| text(peer, "/status") },
    Column { title: "LIFECYCLE", text: |peer, _| text(peer, "/metadata/lifecycle") },
    Column { title: "HEALTH", text: |peer, _| text(peer, "/health") },
    Column { title: "ROLE", text: |peer, _| text(peer, "/metadata/role") },
    Column { title: "REGION", text: |peer, _| text(peer, "/metadata/region") },
    Column { title: "ENDPOINT", text: |peer, _| text(peer, "/metadata/endpoint") },
    Column { title: "RTT", text: |peer, _| rtt(peer) },
    Column { title: "LAST SEEN", text: last_seen },
];

const WIDE_COLUMNS: [Column; 12] = [
    Column { title: "STATE", text: |peer, _| text(peer, "/state") },
    Column { title: "CLUSTER", text: |peer, _| text(peer, "/metadata/clusterId") },
    Column { title: "VERSION", text: |peer, _| text(peer, "/metadata/meshVersion") },
    Column { title: "GENERATION", text: |peer, _| text(peer, "/generation") },
    Column { title: "INCARNATION", text: |peer, _| text(peer, "/incarnation") },
    Column { title: "HTTP3", text: |peer, _| text(peer, "/metadata/http3Support") },
    Column { title: "FEATURES", text: |peer, _| list(peer, "/metadata/features") },
    Column { title: "BREAKER", text: |peer, _| text(peer, "/calls/breaker") },
    Column { title: "SUCCEEDED", text: |peer, _| text(peer, "/calls/succeeded") },
    Column { title: "FAILED", text: |peer, _| text(peer, "/calls/failed") },
    Column { title: "UNREACHABLE", text: |peer, _| text(peer, "/calls/unreachable") },
    // Last: it may be as long as it likes.
    Column { title: "LABELS", text: |peer, _| labels(peer) },
];

const STATUS: &str = "STATUS";

/// Returns the table of `peers`, with a title line; `wide` has all columns, `color` marks the status.
pub(crate) fn render(document: &Value, peers: &[Value], wide: bool, color: bool) -> String {
    let context = Context { generated_at: time(document, "/generatedAt") };
    let more: &[Column] = if wide { &WIDE_COLUMNS } else { &[] };
    let columns: Vec<&Column> = COLUMNS.iter().chain(more).collect();
    let titles = columns.iter().map(|column| column.title.to_owned()).collect();
    let cells = |peer| columns.iter().map(|column| (column.text)(peer, &context)).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(peers.iter().map(cells)).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let status_column = columns.iter().position(|column| column.title == STATUS);
    let marked = status_column.filter(|_| color);
    rows.iter().map(|row| line(row, &widths, marked)).collect()
}

fn line(cells: &[String], widths: &[usize], marked: Option<usize>) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if marked == Some(index) {
            line.push_str(&colored(cell));
        } else {
            line.push_str(cell);
        }
        let padding = width + GAP - cell.chars().count();
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn colored(status: &str) -> String {
    let code = match status {
        "Alive" => "32",
        "Suspect" => "33",
        "Left" => "31",
        _ => return status.to_owned(),
    };
    format!("\x1b[{code}m{status}\x1b[0m")
}

fn text(peer: &Value, pointer: &str) -> String {
    match peer.pointer(pointer) {
        None | Some(Value::Null) => MISSING.to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

/// Replaces control characters: what a node says of itself must not steer the reader's terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn list(peer: &Value, pointer: &str) -> String {
    let items = peer.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let items: Vec<String> = items.filter_map(Value::as_str).map(printable).collect();
    if items.is_empty() { MISSING.to_owned() } else { items.join(",") }
}

fn rtt(peer: &Value) -> String {
    let millis = peer.pointer("/rttMs").and_then(Value::as_f64);
    millis.map_or_else(|| MISSING.to_owned(), |millis| format!("{millis:.2}ms"))
}

fn last_seen(peer: &Value, context: &Context) -> String {
    let (Some(seen), Some(now)) = (time(peer, "/lastSeen"), context.generated_at) else {
        // A time we cannot read is shown as it came.
        return text(peer, "/lastSeen");
    };
    let seconds = now.duration_since(seen).as_secs_f64();
    match seconds {
        ..0.05 => "now".to_owned(),
        ..10.0 => format!("{seconds:.1}s ago"),
        ..120.0 => format!("{seconds:.0}s ago"),
        ..7200.0 => format!("{:.0}m ago", seconds / 60.0),
        _ => format!("{:.0}h ago", seconds / 3600.0),
    }
}

fn labels(peer: &Value) -> String {
    let labels = peer.pointer("/metadata/labels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten().map(|(key, value)| match value {
        Value::String(value) => format!("{}={}", printable(key), printable(value)),
        other => format!("{}={}", printable(key), printable(&other.to_string())),
    });
    let joined = pairs.collect::<Vec<_>>().join(",");
    if joined.is_empty() { MISSING.to_owned() } else { joined }
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    // Unreadable is the same as absent: the cell then shows the text as it came.
    value.pointer(pointer)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(peers: &[Value], wide: bool, color: bool, expected: &str) {
        let document = json!({"generatedAt": "2025-11-19T15:23:04.5+00:00", "newField": 1});
        assert_eq!(render(&document, peers, wide, color), expected);
    }

    fn local() -> Value {
        json!({
            "nodeId": "node-a", "status": "Alive", "lastSeen": "2025-11-19T15:23:04.5+00:00", "rttMs": null,
            "metadata": {"role": "dispatcher", "clusterId": "alpha", "region": "eu-1", "meshVersion": "0.1.0",
                "http3Support": true, "endpoint": "127.0.0.1:17421", "metadataVersion": 1,
                "labels": {"rack": "r1", "zone": "a"}, "lifecycle": "draining", "features": ["lifecycle", "x"]},
            "state": "Alive", "generation": "18446744073709551615", "incarnation": 2, "health": "healthy",
            "healthSource": "gossip", "newField": {"a": 1},
            "calls": {"succeeded": 12, "failed": 3, "unreachable": 2, "breaker": "half_open"},
        })
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let suspect = json!({"nodeId": "node-with-a-long-name", "status": "Suspect", "rttMs": 0.123,
            "lastSeen": "2025-11-19T15:22:04.5+00:00", "metadata": {"role": "worker"}});
        check(
            &[local(), suspect],
            false,
            false,
            "\
NODE                    STATUS    LIFECYCLE   HEALTH    ROLE         REGION   ENDPOINT          RTT      LAST SEEN
node-a                  Alive     draining    healthy   dispatcher   eu-1     127.0.0.1:17421   -        now
node-with-a-long-name   Suspect   -           -         worker       -        -                 0.12ms   60s ago
",
        );
    }

    #[test]
    fn the_wide_table_adds_columns_at_the_end() {
        check(
            &[local()],
            true,
            false,
            "\
NODE     STATUS   LIFECYCLE   HEALTH    ROLE         REGION   ENDPOINT          RTT   LAST SEEN   STATE   CLUSTER   VERSION   GENERATION             INCARNATION   HTTP3   FEATURES      BREAKER     SUCCEEDED   FAILED   UNREACHABLE   LABELS
node-a   Alive    draining    healthy   dispatcher   eu-1     127.0.0.1:17421   -     now         Alive   alpha     0.1.0     18446744073709551615   2             true    lifecycle,x   half_open   12          3        2             rack=r1,zone=a
",
        );
    }

    #[test]
    fn colour_marks_the_status_and_moves_no_column() {
        check(
            &[local()],
            false,
            true,
            "\
NODE     STATUS   LIFECYCLE   HEALTH    ROLE         REGION   ENDPOINT          RTT   LAST SEEN
node-a   \x1b[32mAlive\x1b[0m    draining    healthy   dispatcher   eu-1     127.0.0.1:17421   -     now
",
        );
    }

    #[test]
    fn what_a_node_says_cannot_steer_the_terminal() {
        assert_eq!(text(&json!({"nodeId": "a\u{1b}[2J\nb"}), "/nodeId"), "a\u{fffd}[2J\u{fffd}b");
        let labelled = json!({"metadata": {"labels": {"k\u{7}": "v\r"}}});
        assert_eq!(labels(&labelled), "k\u{fffd}=v\u{fffd}");
    }
}
