//! Which licences may be linked, and SPDX expressions of them (SPDX 2.3, annex D; `/` is the registry's old way to say OR).

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether a licence expression can be met by allowed licences alone. What cannot be parsed is not allowed.
pub fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    either(&mut words) == Some(true) && words.is_empty()
}

/// `a OR b OR ...`. The next word is the last of `words`.
fn either(words: &mut Vec<&str>) -> Option<bool> {
    let mut allowed = both(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        allowed |= both(words)?;
    }
    Some(allowed)
}

/// `a AND b AND ...`, which binds tighter.
fn both(words: &mut Vec<&str>) -> Option<bool> {
    let mut allowed = one(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        allowed &= one(words)?;
    }
    Some(allowed)
}

/// One licence, with its exception if it has one, or an expression in parentheses.
fn one(words: &mut Vec<&str>) -> Option<bool> {
    match words.pop()? {
        "(" => {
            let inner = either(words)?;
            (words.pop()? == ")").then_some(inner)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        licence if words.pop_if(|word| *word == "WITH").is_some() => {
            Some(ALLOWED.contains(&format!("{licence} WITH {}", words.pop()?).as_str()))
        }
        licence => Some(ALLOWED.contains(&licence)),
    }
}

#[test]
fn expressions_mean_what_spdx_says() {
    let allowed = [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "GPL-2.0 AND GPL-3.0 OR MIT",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "((ISC))",
    ];
    let refused = [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
        "MIT AND (GPL-3.0 OR AGPL-3.0)",
        "MIT WITH Classpath-exception-2.0",
        "",
        "MIT OR",
        "(MIT",
        "MIT)",
        "MIT Apache-2.0",
        "OR MIT",
        "mit",
    ];
    for expression in allowed {
        assert!(is_allowed(expression), "{expression}");
    }
    for expression in refused {
        assert!(!is_allowed(expression), "{expression}");
    }
}
