//! The configuration files of the cluster, written at each start.

use std::{fmt::Write, path::Path};

use super::{PostgresOptions, SUPERUSER, cluster::SocketFolder};
use crate::{EmbeddedError, folder::ServiceFolder};

/// The operator's own settings.
const CUSTOM: &str = "custom.conf";

/// What the server is told on its command line: where things are, in names that hold for this start only.
pub(super) fn places(base: &Path, socket: &SocketFolder, instance: &str) -> [(&'static str, String); 5] {
    let socket = socket.seen_from(base);
    [
        ("config_file", base.join("postgresql.conf").display().to_string()),
        ("hba_file", base.join("pg_hba.conf").display().to_string()),
        ("ident_file", base.join("pg_ident.conf").display().to_string()),
        // A list: in quotes, a comma in the path is a comma.
        ("unix_socket_directories", format!("\"{}\"", socket.display().to_string().replace('"', "\"\""))),
        ("cluster_name", instance.to_owned()),
    ]
}

/// Writes postgresql.conf, pg_hba.conf and pg_ident.conf.
pub(super) fn write(folder: &ServiceFolder, options: &PostgresOptions) -> Result<(), EmbeddedError> {
    folder.write("postgresql.conf", &postgresql_conf(options), false)?;
    if !folder.path().join(CUSTOM).exists() {
        folder.write(CUSTOM, "# Your own settings; they win over postgresql.conf.\n", false)?;
    }
    folder.write(
        "pg_hba.conf",
        &format!(
            "# Written by weir at each start.\n\
             local all {SUPERUSER} peer map=weir\n\
             local replication {SUPERUSER} peer map=weir\n\
             local all all peer map=weir\n"
        ),
        false,
    )?;
    let mut ident = String::from("# Written by weir at each start: who may be whom.\n");
    let owner = folder.child().account.name.as_deref();
    for user in ["root"].into_iter().chain(owner.filter(|name| *name != "root")) {
        for role in [super::ROLE, SUPERUSER] {
            let _ = writeln!(ident, "weir \"{user}\" {role}");
        }
    }
    folder.write("pg_ident.conf", &ident, false)
}

fn postgresql_conf(options: &PostgresOptions) -> String {
    let mut settings: Vec<(&str, &str)> = vec![
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0777"),
        ("port", "5432"),
        ("max_connections", "100"),
        ("shared_buffers", "128MB"),
        ("effective_cache_size", "1GB"),
        ("work_mem", "8MB"),
        ("maintenance_work_mem", "64MB"),
        ("max_wal_size", "1GB"),
        ("checkpoint_timeout", "15min"),
        ("random_page_cost", "1.1"),
        // Our queries are short: compiling them takes longer than they do.
        ("jit", "off"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
        ("lc_messages", "C"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_line_prefix", "%m [%p] "),
        ("log_min_messages", "warning"),
        // Lost races for a unique key are everyday here, and their details and statements hold people's data.
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_checkpoints", "off"),
        ("log_autovacuum_min_duration", "-1"),
    ];
    if !options.durable {
        // Commits are still written to the system before they are acknowledged: what was committed survives a kill of the server.
        // Shared memory in files of the cluster: a test's server that is killed for good leaves nothing outside its folder.
        settings.extend([("fsync", "off"), ("full_page_writes", "off"), ("dynamic_shared_memory_type", "mmap")]);
    }
    settings.extend(options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut text =
        String::from("# Written by weir at each start. Put your own settings into custom.conf beside this file.\n");
    for (name, value) in settings {
        let value = value.replace('\'', "''");
        let _ = writeln!(text, "{name} = '{value}'");
    }
    let _ = writeln!(text, "include '{CUSTOM}'");
    text
}
