//! The parameters of a query string, where a typo must not look like an empty answer.

use super::percent::{Plus, decode};
use super::problem::{Code, Problem};
use actix_web::HttpRequest;

/// The values of the known parameters, in the order in which they were named; `None` where a
/// parameter was not given.
///
/// # Errors
/// Where a parameter is unknown, is given twice, or does not decode.
pub(super) fn parse<const N: usize>(
    request: &HttpRequest,
    known: [&str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    let Some(query) = request.uri().query() else {
        return Ok(values);
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, Plus::Space)?;
        let Some(index) = known.iter().position(|known| *known == name) else {
            return Err(unknown(&name, &known));
        };
        let value = decode(value, Plus::Space)?.into_owned();
        if values[index].replace(value).is_some() {
            let detail = format!("the parameter {name} is given twice; give it once");
            return Err(Problem::new(Code::RepeatedParameter, detail));
        }
    }
    Ok(values)
}

/// Every value that a parameter is given, known or not to its route.
///
/// # Errors
/// Where one of them, or any name, does not decode.
pub(super) fn values(request: &HttpRequest, wanted: &str) -> Result<Vec<String>, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let mut values = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(name, Plus::Space)? == wanted {
            values.push(decode(value, Plus::Space)?.into_owned());
        }
    }
    Ok(values)
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let name: String = name.chars().take(100).collect();
    let detail = if known.is_empty() {
        format!("there is no parameter {name:?}; this path takes none")
    } else {
        format!(
            "there is no parameter {name:?}; this path takes {}",
            known.join(", ")
        )
    };
    Problem::new(Code::UnknownParameter, detail)
}
