//! Whether this process has what it needs to serve.

use std::{sync::Arc, time::Duration};

use api::{BoxFuture, Check, Readiness};
use futures::FutureExt;
use processes::Troubles;
use projections::Projections;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Unread;

/// How long a look may take.
const PATIENCE: Duration = Duration::from_millis(800);

/// The servers of our own, if there are any.
#[derive(Clone, Default)]
pub struct Servers {
    pub postgres: Option<watch::Receiver<embedded::Status>>,
    pub nats: Option<watch::Receiver<embedded::Status>>,
}

/// What `/readyz` looks at.
pub struct NodeReadiness {
    pub pool: PgPool,
    pub nats: async_nats::Client,
    pub projections: Option<Arc<Projections>>,
    /// What could not be read of who may watch what; `None` where nothing is shown to viewers.
    pub unread: Option<Unread>,
    /// What processes do not get on with.
    pub troubles: Option<Troubles>,
    pub servers: Servers,
    pub stopping: CancellationToken,
}

impl NodeReadiness {
    async fn look(&self) -> Vec<Check> {
        let mut checks = vec![self.postgres().await, self.nats()];
        if let Some(projections) = &self.projections {
            let stopped: Vec<&str> =
                projections.status().iter().filter(|status| !status.is_healthy()).map(|status| status.name).collect();
            let detail = match stopped.as_slice() {
                [] => "All read models follow the log.".to_owned(),
                names => format!("Not following the log: {}.", names.join(", ")),
            };
            checks.push(Check { name: "projections", ok: stopped.is_empty(), detail });
        }
        checks.extend(self.unread.as_ref().map(rights));
        checks.extend(self.troubles.as_ref().map(processes));
        if self.stopping.is_cancelled() {
            checks.push(Check { name: "process", ok: false, detail: "It is shutting down.".to_owned() });
        }
        checks
    }

    async fn postgres(&self) -> Check {
        let answered = tokio::time::timeout(PATIENCE, sqlx::query("select 1").execute(&self.pool)).await;
        let (ok, detail) = match answered {
            Ok(Ok(_)) => (true, "It answers."),
            _ if is_restarting(self.servers.postgres.as_ref()) => (false, "It crashed and is being started again."),
            Ok(Err(_)) | Err(_) => (false, "It does not answer."),
        };
        Check { name: "postgres", ok, detail: detail.to_owned() }
    }

    /// Told, but never a reason not to be ready: everything is served from Postgres while NATS is away.
    fn nats(&self) -> Check {
        let detail = match self.nats.connection_state() {
            async_nats::connection::State::Connected => "It is connected.",
            _ if is_restarting(self.servers.nats.as_ref()) => {
                "It crashed and is being started again; read models follow Postgres meanwhile."
            }
            _ => "It is not connected; read models follow Postgres meanwhile.",
        };
        Check { name: "nats", ok: true, detail: detail.to_owned() }
    }
}

impl Readiness for NodeReadiness {
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.look().boxed()
    }
}

/// Whether all was read that says who may watch what.
fn rights(unread: &Unread) -> Check {
    let (ok, detail) = match unread.told() {
        None => (true, "It is known who may watch what.".to_owned()),
        Some((count, position, event_type)) => {
            let others = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
            (false, format!("Event {position} ({event_type}){others} cannot be read; what it is about is closed."))
        }
    };
    Check { name: "rights", ok, detail }
}

/// Told, but never a reason not to be ready: what processes have yet to do keeps nobody from being served, and another node would
/// get on no better.
fn processes(troubles: &Troubles) -> Check {
    let troubles = troubles.told();
    let detail = match troubles.as_slice() {
        [] => "None that runs here is held up.".to_owned(),
        held_up => {
            let each = held_up.iter().map(|(name, position)| format!("{name} (at event {position})"));
            format!("Held up: {}.", each.collect::<Vec<_>>().join(", "))
        }
    };
    Check { name: "processes", ok: true, detail }
}

fn is_restarting(status: Option<&watch::Receiver<embedded::Status>>) -> bool {
    status.is_some_and(|status| !status.borrow().is_running())
}
