//! What clients do to a server that means it harm, or that they do not know they do: the release binary under overload,
//! slow and broken clients, without descriptors, with bad input and out of memory, and what others notice of it. Panics
//! inside are in `src/http/panics.rs`, since nothing of a release panics on purpose.
//!
//! Each test prints its figures. `KVSTORE_TEST_ABUSE=long` makes them longer and their bounds those that are promised;
//! else they are short, and their bounds on speed loose, since a machine that runs other tests has other figures.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod descriptors;
mod input;
mod load;
mod memory;
mod overload;
mod server;
mod slow;
mod smuggling;
mod wire;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Whether the long form is asked for.
pub fn is_long() -> bool {
    match std::env::var("KVSTORE_TEST_ABUSE") {
        Err(_) => false,
        Ok(form) if form == "long" => true,
        Ok(form) => panic!("KVSTORE_TEST_ABUSE is {form:?}; it takes long"),
    }
}

/// Prints a figure, with the bound that it is held to.
pub fn say(name: &str, figure: &str, bound: &str) {
    println!("abuse: {name}: {figure} ({bound})");
}

/// Lets this process have as many descriptors as it can: it is all the clients.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
