//! The accounts that have a role in a channel: given and taken by its owner and by administrators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    Channel, ChannelEvent, ChannelRefusal, Created,
    rights::{ChannelAct, ChannelRole, Standing, may},
};
use crate::{Principal, ids::AccountId};

/// How many accounts may have a role in a channel.
pub const TEAM_AT_MOST: usize = 50;

/// Why an account has no role any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleTakenReason {
    /// The owner or an administrator took it.
    Taken,
    /// Who had it left.
    Left,
    /// Who had it was erased.
    AccountErased,
}

impl Channel {
    /// What an account is to it.
    #[must_use]
    pub fn standing(&self, account_id: AccountId) -> Standing {
        match self.open() {
            Some(created) if created.owner_id == account_id => Standing::Owner,
            Some(_) => self.team.get(&account_id).map_or(Standing::Stranger, |role| Standing::Member(*role)),
            None => Standing::Stranger,
        }
    }

    /// Who has which role; nobody before it exists and after it was closed.
    pub fn team(&self) -> impl Iterator<Item = (AccountId, ChannelRole)> + '_ {
        let is_open = self.open().is_some();
        self.team.iter().filter(move |_| is_open).map(|(account_id, role)| (*account_id, *role))
    }

    /// Whether `by` may do this to it.
    ///
    /// # Errors
    /// [`ChannelRefusal::Unknown`] before it exists and after it was closed, [`ChannelRefusal::NotAllowed`].
    pub fn authorise(&self, by: impl Into<Principal>, act: ChannelAct) -> Result<(), ChannelRefusal> {
        self.allowed(by, act).map(|_| ())
    }

    pub(super) fn allowed(&self, by: impl Into<Principal>, act: ChannelAct) -> Result<&Created, ChannelRefusal> {
        let created = self.open().ok_or(ChannelRefusal::Unknown)?;
        let by = by.into();
        if may(self.standing(by.account_id), by.is_administrator, act) {
            Ok(created)
        } else {
            Err(ChannelRefusal::NotAllowed)
        }
    }

    pub(super) fn give_role(
        &self,
        by: Principal,
        account_id: AccountId,
        role: ChannelRole,
        now: OffsetDateTime,
    ) -> Result<Vec<ChannelEvent>, ChannelRefusal> {
        let created = self.allowed(by, ChannelAct::ManageTeam)?;
        if created.owner_id == account_id {
            return Err(ChannelRefusal::OwnerNeedsNoRole);
        }
        match self.team.get(&account_id) {
            Some(present) if *present == role => return Ok(Vec::new()),
            None if self.team.len() >= TEAM_AT_MOST => return Err(ChannelRefusal::TeamFull),
            Some(_) | None => {}
        }
        let (channel_id, by) = (created.channel_id, by.account_id);
        Ok(vec![ChannelEvent::RoleGiven { channel_id, account_id, role, by, given_at: now }])
    }

    /// `by` is `None` for Weir itself, because the account was erased.
    pub(super) fn take_role(
        &self,
        by: Option<Principal>,
        account_id: AccountId,
        now: OffsetDateTime,
    ) -> Result<Vec<ChannelEvent>, ChannelRefusal> {
        let created = self.created.as_ref().ok_or(ChannelRefusal::Unknown)?;
        let role = self.team.get(&account_id).copied();
        let reason = match by {
            None => RoleTakenReason::AccountErased,
            Some(_) if self.is_closed => return Err(ChannelRefusal::Unknown),
            Some(by) if by.account_id == account_id && role.is_some() => RoleTakenReason::Left,
            Some(by) => {
                self.allowed(by, ChannelAct::ManageTeam)?;
                RoleTakenReason::Taken
            }
        };
        let (channel_id, by) = (created.channel_id, by.map(|by| by.account_id));
        let taken = |role| ChannelEvent::RoleTaken { channel_id, account_id, role, by, reason, taken_at: now };
        Ok(role.map(taken).into_iter().collect())
    }
}
