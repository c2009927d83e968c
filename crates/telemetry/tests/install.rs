//! What is one a process: the recorder and the log writer.

use telemetry::{InitTracingError, InstallMetricsError, LogFormat, init_tracing, install_metrics};

#[test]
fn metrics_are_installed_once_and_show_what_the_process_emits() -> Result<(), InstallMetricsError> {
    let handle = install_metrics()?;
    metrics::counter!("mesh_gossip_syncs_total").increment(3);
    assert!(handle.render().lines().any(|line| line == "mesh_gossip_syncs_total 3"), "{}", handle.render());
    assert!(matches!(install_metrics(), Err(InstallMetricsError::AlreadyInstalled)));
    Ok(())
}

#[test]
fn a_log_filter_is_checked_and_changed_while_the_process_runs() -> Result<(), Box<dyn std::error::Error>> {
    let refused = init_tracing(LogFormat::Json, "gossip=loudly", None).map(drop).map_err(|error| error.to_string());
    let message = "log filter `gossip=loudly` is not valid; write for example `info` or `warn,gossip=debug`";
    assert_eq!(refused, Err(message.to_owned()));
    let tracing = init_tracing(LogFormat::Json, "info,gossip=debug", None)?;
    assert!(tracing.traces.is_none());
    assert!(tracing::info_span!("rpc.client").is_disabled());
    assert_eq!(tracing.filter.get(), "info,gossip=debug");

    assert_eq!(enabled(), (true, false, false));
    tracing.filter.set("warn,h3=debug")?;
    assert_eq!((enabled(), tracing.filter.get().as_str()), ((false, false, true), "warn,h3=debug"));
    let wrong = ["h3=loudly".to_owned(), "h".repeat(1025)].map(|filter| tracing.filter.set(&filter).is_err());
    assert_eq!(
        (wrong, enabled(), tracing.filter.get().as_str()),
        ([true, true], (false, false, true), "warn,h3=debug")
    );
    tracing.filter.set("debug")?;
    assert_eq!(enabled(), (true, true, true));
    assert!(tracing::info_span!("rpc.client").is_disabled(), "there is still no collector");
    assert!(matches!(init_tracing(LogFormat::Text, "info", None), Err(InitTracingError::AlreadyInstalled { .. })));
    Ok(())
}

/// Returns whether events are written: of this test with the levels info and debug, and of h3 with debug.
fn enabled() -> (bool, bool, bool) {
    use tracing::Level;
    (tracing::enabled!(Level::INFO), tracing::enabled!(Level::DEBUG), tracing::enabled!(target: "h3", Level::DEBUG))
}
