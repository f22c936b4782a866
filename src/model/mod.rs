//! What the service speaks of once the bytes are parsed: keys, values, queries and changes.
//!
//! Everything here is valid by construction; the modules behind it never check again. Nothing
//! here knows HTTP, actors or the key map.

mod content_type;
mod deadline;
mod fetched;
mod group_list;
mod grouping;
mod key;
mod key_list;
mod mutation;
mod query;
mod value;

pub use content_type::{ContentType, ContentTypeError, ContentTypes};
pub use deadline::{Deadline, DeadlineError, Lifetime};
pub use fetched::Fetched;
pub use group_list::{GroupItem, GroupList};
pub use grouping::{Delimiter, Grouping};
pub use key::{Key, KeyError};
pub use key_list::KeyList;
pub use mutation::{Change, Changed, Condition, Mutation, Preconditions, Revisions};
pub use query::{Filter, Query};
pub use value::{Revision, Value};
