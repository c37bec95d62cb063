//! One process per role, on servers that exist, as `compose.yaml` runs it and finer.

use reqwest::{Method, StatusCode};

use crate::{
    api::{Caller, check_events},
    nodes::{Node, Servers},
    thread::{channel_when, on_air},
    weir::eventually,
};

async fn ingest_state(keeper: &Caller, state: &str) {
    let is_so = async || (keeper.get("channels/river/ingest").await["state"] == state).then_some(());
    eventually(&format!("the encoder is {state}"), is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_per_role_is_one_weir() {
    let servers = Servers::new().await;
    let migrated = servers.operate(&["migrate"]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let api = Node::serve("api", &servers);
    let ingest = Node::serve("ingest", &servers);
    let workers = Node::serve("relay,projections,processes", &servers);
    let http = format!("http://{}", api.serves("http").await);
    let origin = format!("http://{}", ingest.serves("http").await);
    let rtmp = format!("rtmp://{}/live", ingest.serves("rtmp").await);
    workers.serves("roles").await;

    let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
    assert!(!servers.operate(&["setup-token"]).status.success(), "there is an administrator");

    let key = keeper.channel("river").await;
    let (encoder, live) = on_air(&keeper, "river", &rtmp, &key).await;
    // The API asks the other node how the encoder does, and tells it to cut the encoder of a rotated key.
    ingest_state(&keeper, "live").await;
    let stream_id = live["live_stream_id"].as_str().unwrap();
    crate::playlist::check_live(&format!("{origin}/live/{stream_id}/index.m3u8"), 3).await;
    let (status, _) = keeper.call(Method::POST, "channels/river/stream-key/rotate", None).await;
    assert_eq!(status, StatusCode::OK);
    channel_when(&keeper, "river", false).await;
    encoder.refused();
    ingest_state(&keeper, "waiting").await;
    check_events(&keeper.events().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_edits_of_one_version_at_two_nodes_one_wins() {
    const ROUNDS: i64 = 15;
    let servers = Servers::new().await;
    let nodes = [Node::serve("api,projections", &servers), Node::serve("api,relay", &servers)];
    let here = format!("http://{}", nodes[0].serves("http").await);
    let there = format!("http://{}", nodes[1].serves("http").await);
    let keeper = Caller::register(&here, "keeper", Some(&servers.setup_token())).await;
    let handles = ["brook", "river", "delta"];
    for handle in handles {
        keeper.channel(handle).await;
    }
    for version in 1..=ROUNDS {
        let edits = handles.iter().flat_map(|handle| [(handle, &here), (handle, &there)]).map(|(handle, node)| {
            let (keeper, title) = (keeper.at(node), format!("{version} from {node}"));
            async move { (keeper.edit(handle, &title, Some(version)).await, title) }
        });
        let answers = futures::future::join_all(edits).await;
        for (handle, pair) in handles.iter().zip(answers.chunks(2)) {
            let won: Vec<_> = pair.iter().filter(|((status, _), _)| *status == StatusCode::OK).collect();
            let refused: Vec<_> = pair.iter().filter(|((_, answer), _)| answer["code"] == "version_stale").collect();
            assert_eq!((won.len(), refused.len()), (1, 1), "one wins, one is told why not: {pair:?}");
            let ((_, channel), title) = won[0];
            assert_eq!((&channel["title"], &channel["version"]), (&title.as_str().into(), &(version + 1).into()));
            assert_eq!(keeper.at(&there).get(&format!("channels/{handle}")).await["title"], title.as_str());
        }
    }
    let events = keeper.events().await;
    check_events(&events);
    let edited = events.iter().filter(|event| event["type"] == "channel.details_changed").count();
    assert_eq!(edited as i64, ROUNDS * handles.len() as i64);
}
