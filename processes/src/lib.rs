//! What follows the log and acts.
