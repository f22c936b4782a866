//! The file of settings. What is said of a wrong one never shows its text.

use super::error::ConfigError;
use super::settings::Settings;
use crate::misread::Misread;
use std::path::Path;

impl Settings {
    /// These settings, and where one is not given, that of the file.
    ///
    /// # Errors
    /// Where the file cannot be read or is not understood.
    pub fn or_file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let file: Self = toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
        Ok(self.or(file))
    }
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let Misread { line, column, what } = Misread::of(text, error);
    ConfigError::Malformed {
        path: path.into(),
        line,
        column,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_understood_is_told_of_without_its_text() {
        let path = std::env::temp_dir().join(format!("kvstore-config-{}", std::process::id()));
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = Settings::default().or_file(&path).unwrap_err().to_string();
            std::fs::remove_file(&path).unwrap();
            error
        };
        let worker = refused("shards = 1\n\nworker = 1\n");
        assert!(worker.contains("in line 3, column 1"), "{worker}");
        assert!(
            worker.contains("unknown field worker, expected one of listen"),
            "{worker}"
        );
        for text in [
            "engine = redis://:S3CRET@10.0.0.1:6379",
            "engine = [redis://:S3CRET@10.0.0.1:6379]",
            "engine = [\"redis://:S3CRET@10.0.0.1:6379\"]",
            "engine = \"redis://:S3CRET@10.0.0.1:6379",
            "engine = 'redis://:S3CRET@h' x",
            "workers = \"redis://:S3CRET@h\"",
            "workers = \"a\\\"S3CRET\\\", expected S3CRET\"",
            "access_log = \"S3CRET\"",
            "\"redis://:S3CRET@h\" = 1",
            "redis://:S3CRET@h",
            "[engine]\nurl = \"redis://:S3CRET@h\"",
            "engine = {url = \"S3CRET\"}",
            "engine = \"a\"\nengine = \"redis://:S3CRET@h\"",
            "engine = \"redis://:S3CRET@h\\q\"",
            "engine = redis://:S3CRET@h\u{0}",
        ] {
            let error = refused(text);
            assert!(error.contains("in line "), "{error}");
            assert!(!error.contains("S3CRET"), "{error}");
        }
    }
}
