//! Where the masters of a cluster are.

use crate::valkey::layout::{PARTITIONS, slot};
use redis::Value;

/// A host and its port.
pub(super) type Host = (String, u16);

/// Where each partition's master is, in a cluster.
#[derive(Debug)]
pub(super) struct Masters {
    /// The number of each partition's.
    pub(super) numbers: Vec<usize>,
    pub(super) hosts: Vec<Host>,
}

impl Masters {
    /// Reads the answer to `CLUSTER SLOTS`, where a host without a name is one of those known.
    pub(super) fn read(answer: &Value, known: &[String]) -> Option<Self> {
        let mut masters = Self {
            numbers: vec![0; PARTITIONS],
            hosts: Vec::new(),
        };
        // [[first, last, [host, port, id], …], …]: two ranges may have one master.
        let Value::Array(ranges) = answer else {
            return None;
        };
        for range in ranges {
            let Value::Array(range) = range else {
                return None;
            };
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(master),
                ..,
            ] = &range[..]
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = &master[..] else {
                return None;
            };
            let host = match host {
                Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                    String::from_utf8(host.clone()).ok()?
                }
                _ => known.first()?.clone(),
            };
            let host = (host, u16::try_from(*port).ok()?);
            let number = masters.hosts.iter().position(|known| *known == host);
            let number = number.unwrap_or_else(|| {
                masters.hosts.push(host);
                masters.hosts.len() - 1
            });
            for (partition, master) in masters.numbers.iter_mut().enumerate() {
                if (*first..=*last).contains(&i64::from(slot(partition))) {
                    *master = number;
                }
            }
        }
        (!masters.hosts.is_empty()).then_some(masters)
    }

    pub(super) fn host(&self, partition: usize) -> Host {
        self.hosts[self.numbers[partition]].clone()
    }
}
