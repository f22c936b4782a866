//! `kvstore check`: reads all of a data directory without serving it, says what it holds and what is not
//! as it was written, and writes what can be saved.

use crate::client::notice::say;
use crate::durable::{Directory, DirectoryError, Inspection, Purpose, Survey, SystemFiles};
use crate::entry;
use crate::model::ContentTypes;
use clap::Args;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Which directory to check.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// The data directory, which no server may be using
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: PathBuf,
    /// A new file to write all keys and values to that are whole, as lines that import takes
    #[arg(long, value_name = "FILE")]
    salvage: Option<PathBuf>,
    /// Print what it holds, and what is damaged, as a JSON object
    #[arg(long)]
    json: bool,
}

/// Why a directory is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be opened.
    #[error("the data directory is not checked: {0}")]
    Directory(#[from] DirectoryError),
    /// What can be saved cannot be written.
    #[error("cannot write {0}: {1}; give a new file on a disk with room (--salvage)")]
    Output(PathBuf, io::Error),
    /// Not all is as it was written.
    #[error(
        "the data directory is damaged in {0} places, named above; restore a backup, or see what \
         can be saved by --salvage FILE"
    )]
    Damaged(usize),
}

/// Checks a directory and prints what it holds.
///
/// # Errors
/// Where it cannot be opened, or not all is as it was written.
pub fn check(arguments: &CheckArguments) -> Result<(), CheckError> {
    let path = &arguments.data_dir;
    let directory = Directory::open(Arc::new(SystemFiles), path, Purpose::Check)?;
    let inspection = directory.inspect(&ContentTypes::default());
    // Nobody may be there to read it.
    let _ = match arguments.json {
        true => writeln!(io::stdout(), "{}", as_json(&inspection)),
        false => report(&inspection, &mut io::stdout()),
    };
    for damage in &inspection.damage {
        say(format_args!("kvstore: {damage}"));
    }
    if let Some(path) = &arguments.salvage {
        let saved = save(&inspection, path);
        let saved = saved.map_err(|error| CheckError::Output(path.clone(), error))?;
        let path = path.display();
        say(format_args!("kvstore: {saved} keys were written to {path}"));
        let _ = report_missing(&inspection, &mut io::stderr());
    }
    match inspection.damage.len() {
        0 => Ok(()),
        places => Err(CheckError::Damaged(places)),
    }
}

fn report(inspection: &Inspection, to: &mut impl Write) -> io::Result<()> {
    let shards = inspection.checkpoints.len();
    writeln!(to, "{shards} shards, {} keys", inspection.keys())?;
    for (shard, checkpoint) in inspection.checkpoints.iter().enumerate() {
        match checkpoint {
            None => writeln!(to, "shard {shard}: no checkpoint")?,
            Some(survey) => {
                let bytes: u64 = survey.files.iter().map(|file| file.bytes).sum();
                writeln!(
                    to,
                    "shard {shard}: a checkpoint of {} keys at position {}, {} files, {bytes} bytes",
                    survey.keys,
                    survey.moment.position.0,
                    survey.files.len()
                )?;
            }
        }
    }
    writeln!(
        to,
        "log: {} files, {} bytes, {} changes behind the checkpoints",
        inspection.log_files, inspection.log_bytes, inspection.log_records
    )?;
    if inspection.torn_bytes > 0 {
        writeln!(
            to,
            "log: {} bytes at its end were not written whole, and never acknowledged",
            inspection.torn_bytes
        )?;
    }
    if inspection.damage.is_empty() {
        writeln!(to, "all of it is as it was written")?;
    }
    Ok(())
}

/// The report for programs.
fn as_json(inspection: &Inspection) -> Value {
    let checkpoint = |survey: &Survey| {
        json!({
            "keys": survey.keys,
            "position": survey.moment.position.0,
            "files": survey.files.len(),
            "bytes": survey.files.iter().map(|file| file.bytes).sum::<u64>(),
        })
    };
    let checkpoints = inspection.checkpoints.iter();
    let checkpoints = checkpoints.map(|survey| survey.as_ref().map(checkpoint));
    let damage = inspection.damage.iter().map(ToString::to_string);
    json!({
        "keys": inspection.keys(),
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "log": {
            "files": inspection.log_files,
            "bytes": inspection.log_bytes,
            "changes": inspection.log_records,
            "torn_bytes": inspection.torn_bytes,
        },
        "damage": damage.collect::<Vec<_>>(),
    })
}

fn report_missing(inspection: &Inspection, to: &mut impl Write) -> io::Result<()> {
    if inspection.values_missing > 0 {
        writeln!(
            to,
            "kvstore: missing: up to {} keys of checkpoints",
            inspection.values_missing
        )?;
    }
    for missing in &inspection.missing {
        writeln!(
            to,
            "kvstore: missing: the changes from position {} to {}; their keys are as they were before",
            missing.start.0, missing.end.0
        )?;
    }
    Ok(())
}

/// Writes what is whole, and returns how many keys that are.
fn save(inspection: &Inspection, path: &PathBuf) -> io::Result<u64> {
    let file = File::create_new(path)?;
    let mut to = BufWriter::new(file);
    let mut saved = 0;
    inspection.entries(|key, value| {
        saved += 1;
        to.write_all(&entry::line(key.as_str(), &value))?;
        to.write_all(b"\n")
    })?;
    to.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(saved)
}
