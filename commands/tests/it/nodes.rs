//! Nodes that say that they are there.

use std::time::Duration;

use commands::nodes::{self, UNHEARD_AFTER};
use domain::ids::NodeId;
use uuid::Uuid;

use crate::stage::Stage;

#[tokio::test]
async fn nodes_are_heard_of_until_they_leave_or_fall_silent() {
    let stage = Stage::new().await;
    let [first, second] = [1, 2].map(|number| NodeId::from(Uuid::from_u128(number)));
    assert_eq!(nodes::all(&stage.pool).await.unwrap(), []);
    assert_eq!(nodes::by_id(&stage.pool, first).await.unwrap(), None);
    nodes::beat(&stage.pool, second, None).await.unwrap();
    nodes::beat(&stage.pool, first, Some("http://10.0.0.5:8080")).await.unwrap();
    let heard = nodes::all(&stage.pool).await.unwrap();
    assert_eq!(heard.iter().map(|node| node.node_id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(heard[0].address.as_deref(), Some("http://10.0.0.5:8080"));
    let before = heard[0].heard_at;
    nodes::beat(&stage.pool, first, Some("http://10.0.0.6:8080")).await.unwrap();
    let again = nodes::by_id(&stage.pool, first).await.unwrap().unwrap();
    assert!(again.heard_at > before && again.address.as_deref() == Some("http://10.0.0.6:8080"), "{again:?}");
    assert_eq!(nodes::forget(&stage.pool, Duration::from_secs(3_600)).await.unwrap(), 0);

    let long_ago = "update log.nodes set heard_at = heard_at - interval '2 hours' where node_id = $1";
    sqlx::query(long_ago).bind(second.uuid()).execute(&stage.pool).await.unwrap();
    let silent = nodes::by_id(&stage.pool, second).await.unwrap().unwrap();
    assert!(silent.is_unheard() && silent.silence > UNHEARD_AFTER, "{silent:?}");
    assert_eq!(nodes::forget(&stage.pool, Duration::from_secs(3_600)).await.unwrap(), 1);
    assert_eq!(nodes::all(&stage.pool).await.unwrap().len(), 1);

    nodes::leave(&stage.pool, first).await.unwrap();
    nodes::leave(&stage.pool, first).await.unwrap();
    assert_eq!(nodes::all(&stage.pool).await.unwrap(), []);
}
