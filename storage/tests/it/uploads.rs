//! Uploads that a killed process has left in a bucket.

use std::time::Duration;

use storage::{Key, Storage};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::server::Server;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn upload(key: &str, id: &str, age: Duration) -> String {
    let begun = (OffsetDateTime::now_utc() - age).format(&Rfc3339).unwrap();
    format!(
        "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{begun}</Initiated>\
         <StorageClass>STANDARD</StorageClass></Upload>"
    )
}

#[tokio::test]
async fn what_was_begun_a_day_ago_and_is_ours_is_ended() {
    let server = Server::start().await;
    let uploads = [
        upload("shared/install-1/exports/old.ndjson", "stale", 3 * DAY),
        upload("shared/install-1/exports/new.ndjson", "fresh", DAY / 2),
        upload("shared/install-1/backups/old.tar", "of another program", 3 * DAY),
        upload("shared/install-10/exports/old.ndjson", "foreign", 3 * DAY),
    ];
    server.list_uploads(format!(
        "<ListMultipartUploadsResult><Bucket>weir</Bucket><IsTruncated>false</IsTruncated>{}\
         </ListMultipartUploadsResult>",
        uploads.concat()
    ));
    let storage = Storage::open_s3(server.options()).unwrap();
    server.asked();
    assert_eq!(storage.abort_stale_uploads(&Key::new("exports").unwrap(), DAY).await.unwrap(), 1);
    let asked = server.asked();
    let ended: Vec<_> = asked.iter().filter(|asked| asked.starts_with("DELETE ")).collect();
    assert_eq!(ended.len(), 1, "{asked:?}");
    assert!(
        ended[0].contains("shared/install-1/exports/old.ndjson") && ended[0].contains("uploadId=stale"),
        "{ended:?}"
    );
    let listed = asked.iter().find(|asked| asked.starts_with("GET ")).unwrap();
    assert!(
        listed.contains("prefix=shared%2Finstall-1%2Fexports%2F")
            || listed.contains("prefix=shared/install-1/exports/"),
        "{listed}"
    );
}

#[tokio::test]
async fn on_disk_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    assert_eq!(storage.abort_stale_uploads(&Key::new("exports").unwrap(), DAY).await.unwrap(), 0);
}
