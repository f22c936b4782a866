//! Whether people want colours, for the commands that write to a terminal.

/// Whether the environment has nothing against colours: `NO_COLOR` is not set to something, and the terminal is not
/// one that is known for nothing.
pub fn wants_colours() -> bool {
    let says_no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    !says_no && !is_dumb
}
