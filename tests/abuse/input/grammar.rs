//! Requests by the grammar of the interface: what the routes take, each with what it is to do and how it must be
//! answered. `draft` then changes parts of it, and makes bytes of it.

use super::draft::{Asked, Draft};
use super::model::{Condition, Intent, Kept, Lasts, Line, Model};
use super::random::Random;
use super::samples::{BAD_LINES, BAD_TYPES, JUNK, LIFETIMES, TYPES, VALUES};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Makes requests for the keys of one connection.
pub struct Grammar<'a> {
    pub random: &'a mut Random,
    pub model: &'a Model,
    /// What all keys begin with.
    pub prefix: &'a str,
}

impl Grammar<'_> {
    /// A request.
    pub fn ask(&mut self) -> Asked {
        let mut draft = match self.random.below(16) {
            0..4 => self.put(),
            4 | 5 => self.post(),
            6 | 7 => self.lines(),
            8 => self.delete(),
            9 => self.expire(),
            10 | 11 => self.read(),
            12 => self.read_many(),
            13 => self.search(),
            14 if self.random.one_in(3) => self.erase(),
            14 => self.watch(),
            _ => self.junk(),
        };
        // Its answer never ends, so that nothing can be told of how it does.
        if !matches!(draft.intent, Intent::Watch) {
            while self.random.one_in(3) {
                draft.change_head(self.random);
            }
        }
        draft.into_asked(self.random)
    }

    fn put(&mut self) -> Draft {
        let (key, path) = self.path("/set/");
        let body = self.body();
        let mut draft = Draft::new("PUT", path);
        let mut content_type = "application/octet-stream";
        if !self.random.one_in(4) {
            content_type = self.random.pick(&TYPES);
            if self.random.one_in(8) {
                draft.refuse();
                draft.header("Content-Type", self.random.pick(&BAD_TYPES));
            } else {
                draft.header("Content-Type", content_type);
            }
        }
        let mut lasts = Lasts::Endless;
        if self.random.one_in(3) {
            let (name, value, given) = self.random.pick(&LIFETIMES);
            draft
                .parameters
                .push(format!("{name}={}", self.query(value)));
            lasts = draft.unless_refused(given, Lasts::Endless);
        }
        // The bound that the server is set to.
        if body.len() > super::VALUE_BYTES_MAX {
            draft.refuse();
        }
        self.only_if(&mut draft, &key);
        draft.check_key(&key);
        let kept = Kept {
            content_type: content_type.into(),
            body: body.clone(),
            ends: lasts == Lasts::Long,
        };
        draft.intent = Intent::Set(key, kept, lasts);
        draft.body = Some(body);
        draft
    }

    fn post(&mut self) -> Draft {
        let key = self.key();
        let mut draft = Draft::new("POST", "/set".into());
        self.json_type(&mut draft);
        let value = self.json_value(&mut draft);
        let name = self.json_string(&key);
        let mut members = vec![format!("\"key\":{name}"), format!("\"value\": {value}")];
        let lasts = self.lifetime_member(&mut draft, &mut members);
        if self.random.one_in(3) {
            members.reverse();
        }
        if self.random.one_in(10) {
            draft.refuse();
            let more = [
                "\"value\":1",
                "\"key\":\"x\"",
                "\"x\":1",
                "\"if_match\":\"*\"",
                "",
            ];
            members.push(self.random.pick(&more).into());
        }
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        self.spoil(&mut draft, &mut body);
        self.only_if(&mut draft, &key);
        draft.check_key(&key);
        let kept = Kept {
            content_type: "application/json".into(),
            body: value.into_bytes(),
            ends: lasts == Lasts::Long,
        };
        draft.intent = Intent::Set(key, kept, lasts);
        draft.body = Some(body);
        draft
    }

    fn lines(&mut self) -> Draft {
        let mut draft = Draft::new("POST", "/set".into());
        draft.header("Content-Type", "application/x-ndjson");
        let mut body = Vec::new();
        if self.random.one_in(8) {
            body.extend("\u{feff}".as_bytes());
        }
        let count = 1 + self.random.below(7);
        let mut lines = Vec::new();
        for _ in 0..count {
            let (line, text) = self.line();
            if let Line::Bad = line {
                draft.refuse();
            }
            lines.push(line);
            body.extend(text.as_bytes());
            body.extend(self.random.pick(&["\n", "\r\n", " \n"]).as_bytes());
        }
        draft.intent = Intent::Lines(lines);
        draft.body = Some(body);
        draft
    }

    fn line(&mut self) -> (Line, String) {
        if self.random.one_in(12) {
            return (Line::Empty, String::new());
        }
        if self.random.one_in(24) {
            let bad = self.random.pick(&BAD_LINES);
            let long = "x".repeat(super::VALUE_BYTES_MAX + 1);
            return (Line::Bad, bad.replace("LONG", &long));
        }
        let key = self.key();
        if key.len() > super::KEY_BYTES_MAX {
            let text = format!("{{\"key\":{},\"value\":1}}", self.json_string(&key));
            return (Line::Bad, text);
        }
        let mut members = vec![format!("\"key\":{}", self.json_string(&key))];
        let mut kept = if self.random.one_in(3) {
            let body = self.short_body();
            let content_type = self.random.pick(&TYPES);
            let shown = serde_json::to_string(content_type).unwrap();
            members.push(format!("\"content_type\":{shown}"));
            members.push(format!("\"base64\":\"{}\"", STANDARD.encode(&body)));
            Kept {
                content_type: content_type.into(),
                body,
                ends: false,
            }
        } else {
            let value = self.random.pick(&VALUES);
            members.push(format!("\"value\":{value}"));
            Kept {
                content_type: "application/json".into(),
                body: value.into(),
                ends: false,
            }
        };
        if self.random.one_in(4) {
            members.push("\"ttl_ms\":86400000".into());
            kept.ends = true;
        }
        let (condition, member) = self.random.pick(&[
            (Condition::Always, ""),
            (Condition::Always, ""),
            (Condition::Absent, "\"if_none_match\":\"*\""),
            (Condition::Present, "\"if_match\":\"*\""),
            (
                Condition::Never,
                "\"if_match\":\"\\\"0123456789abcdef\\\"\"",
            ),
        ]);
        if !member.is_empty() {
            members.push(member.into());
        }
        (
            Line::Set(key, kept, condition),
            format!("{{{}}}", members.join(",")),
        )
    }

    fn delete(&mut self) -> Draft {
        let (key, path) = self.path("/delete/");
        let mut draft = Draft::new("DELETE", path);
        draft.status = self.if_there(&key, 204);
        self.only_if(&mut draft, &key);
        draft.check_key(&key);
        draft.intent = Intent::Delete(key);
        draft
    }

    fn expire(&mut self) -> Draft {
        let (key, path) = self.path("/expire/");
        let mut draft = Draft::new("POST", path);
        self.json_type(&mut draft);
        draft.status = self.if_there(&key, 200);
        let mut members = Vec::new();
        let mut lasts = self.lifetime_member(&mut draft, &mut members);
        if members.is_empty() {
            lasts = Lasts::Endless;
            members.push("\"expires_at\":null".into());
        }
        let mut body = format!("{{{}}}", members.join(",")).into_bytes();
        self.spoil(&mut draft, &mut body);
        self.only_if(&mut draft, &key);
        draft.check_key(&key);
        draft.intent = Intent::Expire(key, lasts);
        draft.body = Some(body);
        draft
    }

    fn read(&mut self) -> Draft {
        let (key, path) = self.path("/get/");
        let mut draft = Draft::new(self.random.pick(&["GET", "GET", "HEAD"]), path);
        draft.status = self.if_there(&key, 200);
        if draft.status == 200 && self.random.one_in(6) {
            draft.status = 304;
            draft.header("If-None-Match", "*");
        }
        draft.check_key(&key);
        draft.intent = Intent::Read(key);
        draft
    }

    fn read_many(&mut self) -> Draft {
        let mut draft = Draft::new("POST", "/get".into());
        self.json_type(&mut draft);
        let count = self.random.below(5);
        let keys: Vec<String> = (0..count).map(|_| self.key()).collect();
        if keys.is_empty() || keys.iter().any(|key| key.len() > super::KEY_BYTES_MAX) {
            draft.refuse();
        }
        let names: Vec<String> = keys.iter().map(|key| self.json_string(key)).collect();
        let mut body = format!("{{\"keys\":[{}]}}", names.join(",")).into_bytes();
        self.spoil(&mut draft, &mut body);
        draft.intent = Intent::ReadMany(keys);
        draft.body = Some(body);
        draft
    }

    fn search(&mut self) -> Draft {
        let method = self.random.pick(&["GET", "GET", "HEAD"]);
        let mut draft = Draft::new(method, "/search".into());
        let filter = self.filter(&mut draft);
        if self.random.one_in(2) {
            let (parameter, is_taken) = self.random.pick(&[
                ("limit=1", true),
                ("limit=10000", true),
                ("limit=0", false),
                ("limit=10001", false),
                ("limit=99999999999999999999", false),
                ("limit=1e1", false),
                ("limit=%2B5", false),
                ("values=true", true),
                ("values=1", false),
                ("delimiter=/", true),
                ("delimiter=%2F%2F", true),
                ("delimiter=", false),
                ("after=%00", true),
                ("after=zzzz&delimiter=/&limit=2", true),
                ("after=%F0", false),
            ]);
            draft.parameters.push(parameter.into());
            if !is_taken {
                draft.refuse();
            }
        }
        let forms = ["application/json", "application/x-ndjson", "*/*;q=0.1"];
        draft.header("Accept", self.random.pick(&forms));
        draft.intent = Intent::Count(filter);
        draft
    }

    fn erase(&mut self) -> Draft {
        let mut draft = Draft::new("DELETE", "/delete".into());
        let filter = self.filter(&mut draft);
        let dry = [
            "",
            "dry_run=false",
            "dry_run=true",
            "dry_run=true",
            "dry_run=yes",
        ];
        let dry = self.random.pick(&dry);
        draft.parameters.push(dry.into());
        if dry.ends_with("yes") {
            draft.refuse();
        }
        draft.intent = match dry.ends_with("true") {
            true => Intent::Try(filter),
            false => Intent::Erase(filter),
        };
        draft
    }

    fn watch(&mut self) -> Draft {
        let mut draft = Draft::new("GET", "/watch".into());
        self.filter(&mut draft);
        let (header, parameter, is_taken) = self.random.pick(&[
            ("", "", true),
            ("", "from=start", true),
            ("", "from=x", false),
            ("junk", "", false),
            ("0-0-0-0", "", false),
            ("\u{ff}", "", false),
            ("", "after=1.2.3", false),
            ("", "after=0c1f3a5b7d9e2468-0-0&after=", false),
        ]);
        if !header.is_empty() {
            draft.header("Last-Event-ID", header);
        }
        draft.parameters.push(parameter.into());
        if !is_taken {
            draft.refuse();
        }
        draft.intent = Intent::Watch;
        draft
    }

    fn junk(&mut self) -> Draft {
        let (method, path) = self.random.pick(&JUNK);
        let mut draft = Draft::new(method, path.into());
        draft.refuse();
        if self.random.one_in(3) {
            draft.body = Some(self.short_body());
        }
        draft
    }
}
