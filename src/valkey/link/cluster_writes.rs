//! Writes to a cluster that replicas confirm: by connections to each master, since what waits for replicas holds up all
//! that comes behind it.

use super::masters::Host;
use crate::valkey::call::{Call, Confirmation};
use crate::valkey::confirmed::{self, Groups};
use crate::valkey::connection::{Care, LinkSettings, Nodes, Reconnecting};
use crate::valkey::error::EngineError;
use redis::{RedisError, Value};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::time::{Instant, timeout_at};

/// Writes that replicas of a cluster's masters confirm go here, since nothing else gets through while they
/// are waited for.
pub(super) struct Confirmed {
    settings: LinkSettings,
    confirmation: Confirmation,
    reconnects: Arc<AtomicU64>,
    /// By the master's address.
    groups: RefCell<HashMap<Host, Rc<Groups>>>,
    /// What has moved, or whose master is not known.
    others: Reconnecting<Nodes>,
}

impl Confirmed {
    /// None is connected yet.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub(super) fn new(
        settings: &LinkSettings,
        confirmation: Confirmation,
        reconnects: &Arc<AtomicU64>,
    ) -> Result<Self, RedisError> {
        let others = Nodes::new(settings, 0)?;
        Ok(Self {
            settings: settings.clone(),
            confirmation,
            reconnects: reconnects.clone(),
            groups: RefCell::default(),
            others: Reconnecting::new(others, Care::Writes, reconnects),
        })
    }

    /// Makes a write of a partition whose master is here, as far as we know; `moved` hears that it is not.
    pub(super) async fn ask(
        &self,
        call: &Call,
        host: Option<Host>,
        deadline: Instant,
        moved: impl FnOnce(),
    ) -> Result<Value, EngineError> {
        if let Some(groups) = host.and_then(|host| self.groups(host)) {
            let asked = timeout_at(deadline, groups.ask(call.clone())).await;
            match asked.unwrap_or(Err(EngineError::Unanswered)) {
                // It did not run there.
                Err(EngineError::Moving) => moved(),
                answer => return answer,
            }
        }
        confirmed::routed(&self.others, call, self.confirmation, deadline).await
    }

    fn groups(&self, host: Host) -> Option<Rc<Groups>> {
        let mut groups = self.groups.borrow_mut();
        if let Some(groups) = groups.get(&host) {
            return Some(groups.clone());
        }
        let mut settings = self.settings.clone();
        settings.address = settings.address.of_node(&host.0, host.1);
        let made = Groups::new(&settings, self.confirmation, &self.reconnects);
        let made = Rc::new(made.ok()?);
        groups.insert(host, made.clone());
        Some(made)
    }

    /// Forgets the connections to nodes that are no masters any more.
    pub(super) fn retain(&self, masters: &[Host]) {
        let mut groups = self.groups.borrow_mut();
        groups.retain(|host, _| masters.contains(host));
    }
}
