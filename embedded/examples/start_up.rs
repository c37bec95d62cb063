//! Measures how long both servers take: in a new data directory, and in one that they know.

use std::{path::Path, time::Instant};

use embedded::{EmbeddedError, Nats, NatsOptions, Postgres, PostgresOptions};

#[tokio::main]
async fn main() -> Result<(), EmbeddedError> {
    let folder = std::env::args_os().nth(1).expect("usage: start_up DATA_DIR");
    let folder = Path::new(&folder);
    for run in ["cold", "warm", "warm", "warm", "warm", "warm"] {
        let began = Instant::now();
        let postgres = async {
            let postgres = Postgres::start(PostgresOptions::new(folder)).await?;
            Ok::<_, EmbeddedError>((postgres, began.elapsed()))
        };
        let nats = async {
            let nats = Nats::start(NatsOptions::new(folder)).await?;
            Ok::<_, EmbeddedError>((nats, began.elapsed()))
        };
        let ((postgres, postgres_took), (nats, nats_took)) = tokio::try_join!(postgres, nats)?;
        let both_took = began.elapsed();
        let began = Instant::now();
        tokio::join!(postgres.shutdown(), nats.shutdown());
        let stop_took = began.elapsed();
        println!(
            "{run}: postgres {postgres_took:.0?}, nats {nats_took:.0?}, both {both_took:.0?}; stop {stop_took:.0?}"
        );
    }
    Ok(())
}
