//! `DELETE /delete/{key}`.

use super::problem::{Code, Problem};
use super::{State, conditions, parameters, path_key, unsupported};
use crate::model::{Changed, Mutation};
use actix_web::{HttpRequest, HttpResponse};

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let has_conditions = unsupported::in_change(request)?;
    let condition = conditions::of(request, has_conditions)?;
    let key = path_key(request, "/delete/", &state.limits)?;
    match state
        .store
        .change(Mutation::delete(key).only(condition))
        .await?
    {
        Changed::Deleted(_) | Changed::Created(_) | Changed::Updated(_) | Changed::Kept(_) => {
            Ok(HttpResponse::NoContent().finish())
        }
        Changed::Unmet(present) => Err(conditions::unmet(state, present)),
        Changed::Absent => {
            let detail = "the key names no value, so there was nothing to delete";
            Err(Problem::new(Code::KeyNotFound, detail))
        }
    }
}
