//! What changes the engine's data, and what reads much of it: scripts, each one step to everybody
//! else. They name all keys that they touch.

use super::call::Call;
use redis::{Cmd, cmd};

/// What the scripts of keys share.
const PRELUDE: &str = include_str!("scripts/prelude.lua");

/// The line of a script at which that comes, where it is not its first: what is before does without it, since each run
/// of a script makes all functions anew.
const SHARED: &str = "-- shared\n";

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) set: Script,
    pub(super) delete: Script,
    pub(super) expire: Script,
    pub(super) lapse: Script,
    pub(super) short: Script,
    pub(super) sizes: Script,
    pub(super) keys: Script,
    pub(super) scan: Script,
    pub(super) log: Script,
    pub(super) repair: Script,
    pub(super) mend: Script,
    pub(super) switch: Script,
    pub(super) promise: Script,
}

/// A script, and the hash that the engine knows it by.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    hash: String,
}

/// A script with what it is run on.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) script: &'a Script,
    pub(super) partition: usize,
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Run<'_> {
    /// By the script's hash, which the engine may not know.
    pub(super) fn by_hash(&self) -> Call {
        let mut command = cmd("EVALSHA");
        command.arg(&self.script.hash);
        self.completed(command)
    }

    /// With the whole script, which the engine then knows.
    pub(super) fn whole(&self) -> Call {
        let mut command = cmd("EVAL");
        command.arg(&self.script.source);
        self.completed(command)
    }

    fn completed(&self, mut command: Cmd) -> Call {
        command.arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            command.arg(&argument[..]);
        }
        Call::new(self.partition, command).with_longest(self.longest())
    }

    /// The bytes of its longest argument.
    pub(super) fn longest(&self) -> usize {
        self.arguments.iter().map(Vec::len).max().unwrap_or(0)
    }
}

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |source: &str| Script {
            source: source.into(),
            hash: redis::Script::new(source).get_hash().to_owned(),
        };
        // What they share comes after the line that says what may be done with a script.
        let of_keys = |source: &str| {
            let cut = source.split_once(SHARED).or(source.split_once('\n'));
            let (before, after) = cut.unwrap_or_default();
            script(&format!("{before}\n{PRELUDE}{after}"))
        };
        Self {
            set: of_keys(include_str!("scripts/set.lua")),
            delete: of_keys(include_str!("scripts/delete.lua")),
            expire: of_keys(include_str!("scripts/expire.lua")),
            lapse: of_keys(include_str!("scripts/lapse.lua")),
            short: script(include_str!("scripts/short.lua")),
            sizes: script(include_str!("scripts/sizes.lua")),
            keys: script(include_str!("scripts/keys.lua")),
            scan: script(include_str!("scripts/scan.lua")),
            log: script(include_str!("scripts/log.lua")),
            repair: of_keys(include_str!("scripts/repair.lua")),
            mend: script(include_str!("scripts/mend.lua")),
            switch: of_keys(include_str!("scripts/switch.lua")),
            promise: of_keys(include_str!("scripts/promise.lua")),
        }
    }
}
