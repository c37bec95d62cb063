//! Under which account a child runs.
//!
//! Postgres refuses to run as root, and nats-server has no reason to: started by root, a child gets an account of its own.
//! Started by anyone else, children run as that user.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::EmbeddedError;

/// An account of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: Option<String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account for a child, and whether it must be switched to.
#[derive(Clone, Debug)]
pub(crate) struct ChildAccount {
    pub(crate) account: Account,
    /// We are root: the child must be started under the account, and gets its files given.
    pub(crate) is_switched: bool,
}

impl ChildAccount {
    /// Chooses the account for a child whose data is in `data` (which need not exist).
    ///
    /// As root: the owner of existing data (so that data once made by an ordinary user stays that user's), else the first of
    /// `preferred` that exists, else `nobody`. Otherwise the user that we are.
    ///
    /// # Errors
    /// [`EmbeddedError::ForeignOwner`] when we are not root and the data is somebody else's.
    pub(crate) fn choose(preferred: &[&str], data: &Path) -> Result<Self, EmbeddedError> {
        let us = rustix::process::geteuid().as_raw();
        let owner = fs::metadata(data).ok().map(|data| (data.uid(), data.gid()));
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        if us != 0 {
            if let Some((uid, _)) = owner.filter(|(uid, _)| *uid != us) {
                let owner =
                    by_uid(&passwd, uid).and_then(|account| account.name).unwrap_or_else(|| format!("user {uid}"));
                return Err(EmbeddedError::ForeignOwner { folder: data.to_owned(), owner });
            }
            let account = by_uid(&passwd, us).unwrap_or(Account {
                name: None,
                uid: us,
                gid: rustix::process::getegid().as_raw(),
            });
            return Ok(Self { account, is_switched: false });
        }
        let account = match owner.filter(|(uid, _)| *uid != 0) {
            Some((uid, gid)) => Account { gid, ..by_uid(&passwd, uid).unwrap_or(Account { name: None, uid, gid }) },
            None => preferred.iter().find_map(|name| by_name(&passwd, name)).unwrap_or(Account {
                name: Some("nobody".to_owned()),
                uid: 65534,
                gid: 65534,
            }),
        };
        Ok(Self { account, is_switched: true })
    }

    /// The account's name, or its number.
    pub(crate) fn label(&self) -> String {
        self.account.name.clone().unwrap_or_else(|| format!("user {}", self.account.uid))
    }
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name: Some(name), uid, gid })
    })
}

fn by_uid(passwd: &str, uid: u32) -> Option<Account> {
    accounts(passwd).find(|account| account.uid == uid)
}

fn by_name(passwd: &str, name: &str) -> Option<Account> {
    accounts(passwd).find(|account| account.name.as_deref() == Some(name) && account.uid != 0)
}
