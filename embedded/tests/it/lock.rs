//! One Weir per data directory.

use embedded::{DataDirLock, EmbeddedError, Nats, NatsOptions};

use crate::processes::data_dir;

#[test]
fn a_second_holder_is_told_the_pid_of_the_first() {
    let folder = data_dir();
    let lock = DataDirLock::acquire(&folder.path().join("new")).unwrap();
    let error = DataDirLock::acquire(&folder.path().join("new")).unwrap_err();
    assert!(matches!(error, EmbeddedError::Locked { .. }));
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(lock);
    drop(DataDirLock::acquire(&folder.path().join("new")).unwrap());
}

// Else the second would take the server of the first for an orphan.
#[tokio::test]
async fn a_running_service_is_not_started_twice() {
    let folder = data_dir();
    let nats = Nats::start(NatsOptions::new(folder.path())).await.unwrap();
    let error = Nats::start(NatsOptions::new(folder.path())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Locked { .. }), "{error}");
    assert!(nats.status().borrow().is_running());
    nats.shutdown().await;
}
