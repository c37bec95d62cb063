use domain::{
    channels::{Channel, ChannelAct, ChannelEvent, ChannelRefusal, ChannelRole, Standing, may},
    ids::AccountId,
};

use crate::channels::{created, owner};
use crate::{NOW, after, id};

const TABLE: &str = include_str!("../../../docs/roles.md");

/// Who may, in the order of the table's columns.
fn row(act: ChannelAct) -> String {
    let of = |standing, is_administrator| if may(standing, is_administrator, act) { "yes" } else { "no" };
    let (moderator, editor) = (Standing::Member(ChannelRole::Moderator), Standing::Member(ChannelRole::Editor));
    format!(
        "| {} | {} | {} | {} |",
        of(moderator, false),
        of(editor, false),
        of(Standing::Owner, false),
        of(Standing::Stranger, true)
    )
}

#[test]
fn the_table_says_of_every_act_who_may() {
    for act in ChannelAct::ALL {
        let line = TABLE.lines().find(|line| line.starts_with(&format!("| `{}` |", act.as_str())));
        let line = line.unwrap_or_else(|| panic!("docs/roles.md has no row for {}", act.as_str()));
        assert!(line.ends_with(&row(act)), "{line}\nis not {}", row(act));
    }
}

#[test]
fn nobody_may_by_being_nothing_and_an_administrator_keeps_that_right_in_a_team() {
    for act in ChannelAct::ALL {
        assert!(!may(Standing::Stranger, false, act), "{}", act.as_str());
        assert!(may(Standing::Owner, false, act), "{}", act.as_str());
        for role in [ChannelRole::Moderator, ChannelRole::Editor] {
            let either = may(Standing::Member(role), false, act) || may(Standing::Stranger, true, act);
            assert_eq!(may(Standing::Member(role), true, act), either, "{}", act.as_str());
        }
    }
}

#[test]
fn a_channel_asks_the_table() {
    let member: AccountId = id(20);
    let given =
        |role| ChannelEvent::RoleGiven { channel_id: id(2), account_id: member, role, by: owner(), given_at: NOW };
    for act in ChannelAct::ALL {
        for role in [ChannelRole::Moderator, ChannelRole::Editor] {
            let channel: Channel = after([created(), given(role)]);
            let answer = channel.authorise(member, act);
            let expected = may(Standing::Member(role), false, act);
            assert_eq!(answer, if expected { Ok(()) } else { Err(ChannelRefusal::NotAllowed) }, "{}", act.as_str());
            assert_eq!(channel.authorise(owner(), act), Ok(()));
        }
        assert_eq!(Channel::default().authorise(owner(), act), Err(ChannelRefusal::Unknown));
    }
}

#[test]
fn roles_are_read_as_they_are_stored() {
    for role in [ChannelRole::Moderator, ChannelRole::Editor] {
        assert_eq!(ChannelRole::from_stored(role.as_str()), Some(role));
    }
    assert_eq!(ChannelRole::from_stored("owner"), None);
}
