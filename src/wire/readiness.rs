//! Whether this process has what it needs to serve.

use std::{sync::Arc, time::Duration};

use api::{BoxFuture, Check, Readiness};
use futures::FutureExt;
use projections::Projections;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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

fn is_restarting(status: Option<&watch::Receiver<embedded::Status>>) -> bool {
    status.is_some_and(|status| !status.borrow().is_running())
}
