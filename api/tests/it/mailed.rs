//! What is mailed, as the log has it for the process that sends it.

use std::borrow::Cow;

use domain::{
    DomainEvent,
    accounts::{EmailEvent, PasswordResetEvent},
    sealed::{Opened, Sealed},
};

use crate::site::{PATIENCE, Site};

/// A mail that would go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mailed {
    pub(crate) to: String,
    pub(crate) code: String,
    pub(crate) language: &'static str,
}

/// Everything that was mailed with a code, in order; of a change first what goes to the address to be.
pub(crate) async fn mailed(site: &Site) -> Vec<Mailed> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "select aggregate_type, event_type, event_version, payload::text from log.events
         where aggregate_type in ('email', 'password_reset') order by position",
    )
    .fetch_all(&site.pool)
    .await
    .unwrap();
    let mut mailed = Vec::new();
    for (aggregate_type, event_type, version, payload) in rows {
        let event = DomainEvent::decode(&aggregate_type, &event_type, &version, &payload).unwrap();
        match event {
            DomainEvent::Email(EmailEvent::ConfirmationRequested { email, code, language, .. })
            | DomainEvent::PasswordReset(PasswordResetEvent::Requested { email, code, language, .. }) => {
                mailed.push(opened(site, email, code, language.code()).await);
            }
            DomainEvent::Email(EmailEvent::ChangeRequested {
                wanted,
                wanted_code,
                present,
                present_code,
                language,
                ..
            }) => {
                mailed.push(opened(site, wanted, wanted_code, language.code()).await);
                if let (Some(present), Some(code)) = (present, present_code) {
                    mailed.push(opened(site, present, code, language.code()).await);
                }
            }
            _ => {}
        }
    }
    mailed
}

/// The last of them to this address.
pub(crate) async fn last_code(site: &Site, to: &str) -> String {
    let mailed = mailed(site).await;
    mailed.into_iter().rfind(|mailed| mailed.to == to).unwrap_or_else(|| panic!("nothing was mailed to {to}")).code
}

/// Waits until so many were mailed: a reset is asked for after the answer.
pub(crate) async fn until_mailed(site: &Site, count: usize) -> Vec<Mailed> {
    let look = async {
        loop {
            let mailed = mailed(site).await;
            if mailed.len() >= count {
                return mailed;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the mails do not come")
}

/// Lets time pass for whatever may be asked for once a minute.
pub(crate) async fn a_minute_later(site: &Site) {
    sqlx::query("update log.mailed_codes set asked_at = asked_at - interval '61 seconds'")
        .execute(&site.pool)
        .await
        .unwrap();
}

/// A code that is none that was mailed.
pub(crate) fn another(code: &str) -> String {
    let first = if code.starts_with('a') { 'b' } else { 'a' };
    format!("{first}{}", &code[1..])
}

async fn opened(site: &Site, to: Sealed, code: Sealed, language: &'static str) -> Mailed {
    let opened = site.commands.keyring().open(vec![Cow::Owned(to), Cow::Owned(code)]).await.unwrap();
    let mut texts = opened.into_iter().map(|opened| match opened {
        Opened::Text(text) => text,
        Opened::Erased => "[erased]".to_owned(),
    });
    Mailed { to: texts.next().unwrap(), code: texts.next().unwrap(), language }
}
