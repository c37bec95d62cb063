//! The rules of Weir: commands, events, state and refusals, without IO.
