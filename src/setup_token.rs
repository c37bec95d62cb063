//! The set-up token as `weir up` keeps it: in a file of its own beside the data.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use commands::{Commands, setup};
use zeroize::Zeroizing;

use crate::secrets;

/// What makes the first administrator, while there is none: the token, and the file that holds it.
pub struct SetupToken {
    pub token: String,
    pub file: PathBuf,
}

impl SetupToken {
    /// Has the token in a file in `folder`, made anew where there was none; `None`, and no file, once somebody administers the
    /// install.
    ///
    /// # Errors
    /// When the log does not answer, or the file cannot be read or written.
    pub async fn keep(commands: &Commands, folder: &Path) -> anyhow::Result<Option<Self>> {
        let file = folder.join("setup-token");
        match setup::ensure_token(commands).await.context("the set-up token cannot be made")? {
            None => {
                // Used up: the file would only confuse.
                if file.exists() {
                    fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
                }
                Ok(None)
            }
            Some(setup::SetupToken::New(token)) => Self::write(&token, file).map(Some),
            Some(setup::SetupToken::AlreadyGivenOut) => match fs::read_to_string(&file) {
                Ok(token) => Ok(Some(Self { token: token.trim().to_owned(), file })),
                // Lost with its file, or a crash came before it was written: another one takes its place.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let token = setup::replace_token(commands).await.context("the set-up token cannot be made")?;
                    token.map(|token| Self::write(&token, file)).transpose()
                }
                Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
            },
        }
    }

    fn write(token: &Zeroizing<String>, file: PathBuf) -> anyhow::Result<Self> {
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("{} cannot be replaced", file.display()))?;
        }
        secrets::write_new(&file, token)?;
        Ok(Self { token: token.to_string(), file })
    }
}
