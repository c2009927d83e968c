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
fn a_wrong_log_filter_is_refused_and_without_a_collector_there_are_no_spans() -> Result<(), InitTracingError> {
    let refused = init_tracing(LogFormat::Json, "gossip=loudly", None).map(drop).map_err(|error| error.to_string());
    let message = "log filter `gossip=loudly` is not valid; write for example `info` or `warn,gossip=debug`";
    assert_eq!(refused, Err(message.to_owned()));
    assert!(init_tracing(LogFormat::Json, "info,gossip=debug", None)?.is_none());
    assert!(tracing::info_span!("rpc.client").is_disabled());
    assert!(tracing::enabled!(tracing::Level::INFO) && !tracing::enabled!(tracing::Level::DEBUG));
    assert!(matches!(init_tracing(LogFormat::Text, "info", None), Err(InitTracingError::AlreadyInstalled { .. })));
    Ok(())
}
