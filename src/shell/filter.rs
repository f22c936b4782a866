//! Which keys a command is for.

use crate::client::escaped;
use clap::Args;

/// How keys begin and end.
#[derive(Args, Debug)]
pub struct FilterArguments {
    /// How the keys begin; empty for all
    #[arg(long)]
    prefix: Option<String>,
    /// How the keys end; empty for all
    #[arg(long)]
    suffix: Option<String>,
}

impl FilterArguments {
    /// The parameters of what is given, and of nothing else.
    pub fn given(&self) -> String {
        let parameters = [("prefix", &self.prefix), ("suffix", &self.suffix)];
        let given = parameters.into_iter().filter_map(|(name, text)| {
            let text = text.as_deref()?;
            Some(format!("{name}={}", escaped(text)))
        });
        given.collect::<Vec<_>>().join("&")
    }

    /// The parameters of what is given; without any, those of all keys.
    pub fn given_or_all(&self) -> String {
        let given = self.given();
        match given.is_empty() {
            true => "prefix=".into(),
            false => given,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_escaped_and_nothing_is_added() {
        let filter = |prefix: Option<&str>, suffix: Option<&str>| FilterArguments {
            prefix: prefix.map(String::from),
            suffix: suffix.map(String::from),
        };
        let both = filter(Some("a&b= +"), Some("é"));
        assert_eq!(both.given(), "prefix=a%26b%3D%20%2B&suffix=%C3%A9");
        assert_eq!(filter(Some(""), None).given(), "prefix=");
        assert_eq!(filter(None, Some("")).given_or_all(), "suffix=");
        assert_eq!(filter(None, None).given(), "");
        assert_eq!(filter(None, None).given_or_all(), "prefix=");
    }
}
