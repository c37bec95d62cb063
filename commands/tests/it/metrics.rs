//! What is counted for whoever watches.

use commands::CommandError;
use domain::channels::{Channel, ChannelRefusal};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::stage::{Stage, account_id, bare_channel, create_command, metadata, retitle};

#[tokio::test]
async fn commands_batches_and_the_cache_are_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let stage = Stage::new().await;
    // Only what this thread makes is counted here.
    let recording = metrics::set_default_local_recorder(&recorder);
    let commands = stage.commands().await;
    drop(recording);
    let owner = account_id();
    let channel_id = bare_channel(&commands, owner, "my_channel").await;
    commands.execute::<Channel>(&channel_id.to_string(), retitle(owner, "New"), metadata()).await.unwrap();
    let taken = create_command(uuid::Uuid::now_v7().into(), owner, "my_channel");
    let refused = commands.execute::<Channel>("another", taken, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::HandleTaken))));

    let figures = figures.render();
    for line in [
        "weir_commands_total{outcome=\"committed\"} 2",
        "weir_commands_total{outcome=\"refused\"} 1",
        "weir_commands_total{outcome=\"conflict\"} 0",
        "weir_commands_total{outcome=\"overloaded\"} 0",
        "weir_commands_total{outcome=\"unavailable\"} 0",
        "weir_commands_total{outcome=\"unknown\"} 0",
        "weir_aggregate_cache_total{result=\"hit\"} 1",
        "weir_aggregate_cache_total{result=\"miss\"} 2",
        "weir_append_queue_commands 0",
        "weir_append_batch_commands_count 3",
        "weir_append_batch_commands_sum 3",
        "weir_append_seconds_count 3",
    ] {
        assert!(figures.lines().any(|figure| figure == line), "{line} is not in\n{figures}");
    }
}
