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
fn a_wrong_log_filter_is_refused_before_anything_is_installed() -> Result<(), InitTracingError> {
    let refused = init_tracing(LogFormat::Json, "gossip=loudly", None).map(drop).map_err(|error| error.to_string());
    let message = "log filter `gossip=loudly` is not valid; write for example `info` or `warn,gossip=debug`";
    assert_eq!(refused, Err(message.to_owned()));
    assert!(init_tracing(LogFormat::Json, "warn,gossip=debug", None)?.is_none());
    assert!(matches!(init_tracing(LogFormat::Text, "info", None), Err(InitTracingError::AlreadyInstalled { .. })));
    Ok(())
}
