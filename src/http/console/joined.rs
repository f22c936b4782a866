//! Modules as one script, so that a page asks for none of them. Each stands in a block of its own, where its names clash
//! with nobody's, and what it takes and gives goes through an object that all of them have:
//!
//! | as it is written | in `y.js` of the script |
//! |---|---|
//! | `import { a, b as c } from "./x.js";` | `const { a, b: c } = modules["x.js"];` |
//! | `import * as x from "./x.js";` | `const x = modules["x.js"];` |
//! | `export const a = …` | `const a = …`, and `Object.assign(modules["y.js"], { a });` at the end |
//!
//! What is taken by its name must be there by then, so its module stands before. Modules that are taken whole may take each
//! other. Nothing else of the language's imports and exports is known here, and lines stay lines.

/// A module as it is written.
#[derive(Debug)]
pub(super) struct Module {
    /// What others import it by, behind `./`.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// All modules as one, in their order.
pub(super) fn joined(modules: &[Module]) -> String {
    let names = modules
        .iter()
        .map(|module| format!("\"{}\": {{}}", module.name));
    let names: Vec<String> = names.collect();
    let blocks: String = modules.iter().map(block).collect();
    format!("const modules = {{ {} }};\n{blocks}", names.join(", "))
}

fn block(Module { name, text }: &Module) -> String {
    let mut block = String::from("{\n");
    let mut given = Vec::new();
    for line in text.lines() {
        if let Some(Export {
            declared,
            statement,
        }) = export(line)
        {
            given.push(declared);
            block += statement;
        } else if let Some(taken) = import(line) {
            block += &taken;
        } else {
            block += line;
        }
        block.push('\n');
    }
    let given = given.join(", ");
    block + &format!("Object.assign(modules[\"{name}\"], {{ {given} }});\n}}\n")
}

/// The statement that has what a line imports.
fn import(line: &str) -> Option<String> {
    let imported = line.strip_prefix("import ")?.strip_suffix("\";")?;
    let (names, module) = imported.split_once(" from \"./")?;
    let names = match names.strip_prefix("* as ") {
        Some(name) => name.to_owned(),
        None => names.replace(" as ", ": "),
    };
    Some(format!("const {names} = modules[\"{module}\"];"))
}

/// What a line declares for other modules.
struct Export<'a> {
    declared: &'a str,
    /// The line as it declares that for nobody else.
    statement: &'a str,
}

fn export(line: &str) -> Option<Export<'_>> {
    let statement = line.strip_prefix("export ")?;
    let declaration = statement.strip_prefix("const ");
    let declaration = declaration.or_else(|| statement.strip_prefix("class "))?;
    let (declared, _) = declaration.split_once(' ')?;
    Some(Export {
        declared,
        statement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_blocks_that_take_from_each_other() {
        let one = "// One.\n\nexport const a = () => 1;\nconst hidden = 2;\nexport class B extends A {\n}\n";
        let other = "import { a, B as C } from \"./one.js\";\nimport * as one from \"./one.js\";\nconst hidden = one.a();\n";
        let modules = [("one.js", one), ("other.js", other)];
        assert_eq!(
            joined(&modules.map(|(name, text)| Module { name, text })),
            "const modules = { \"one.js\": {}, \"other.js\": {} };\n\
             {\n// One.\n\nconst a = () => 1;\nconst hidden = 2;\nclass B extends A {\n}\n\
             Object.assign(modules[\"one.js\"], { a, B });\n}\n\
             {\nconst { a, B: C } = modules[\"one.js\"];\nconst one = modules[\"one.js\"];\nconst hidden = one.a();\n\
             Object.assign(modules[\"other.js\"], {  });\n}\n"
        );
    }
}
