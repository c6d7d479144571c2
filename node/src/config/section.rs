//! What a part of the configuration is: a struct whose doc comments are the manual.
//!
//! Every key has a default, and its type is its default's; there is no key that is merely absent. So the schema, the example
//! file, `print-config` and the checks of names and types all come from one place: the struct.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;

/// One part of the configuration. `settings!` writes the struct and this for it.
pub trait Section: Default + Serialize + DeserializeOwned {
    /// What the section is about, for the head of its part of the example file.
    const ABOUT: &'static str;
    /// Key and documentation of each field, in order.
    const DOCS: &'static [(&'static str, &'static str)];
    /// Keys whose values are never printed.
    const SECRETS: &'static [&'static str] = &[];
}

/// A struct that is a [`Section`]: fields with documentation and defaults. Fields under `derived` are no keys: the wiring
/// fills them in from elsewhere.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $(secrets($($secret:ident),+))?
        pub struct $Name:ident {
            $($(#[doc = $doc:literal])+ $(#[serde $serde:tt])? $field:ident: $type:ty = $default:expr;)*
        }
        $(derived {
            $($(#[doc = $about_derived:literal])+ $derived:ident: $derived_type:ty = $derived_default:expr;)*
        })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Name {
            $($(#[doc = $doc])+ $(#[serde $serde])? pub $field: $type,)*
            $($($(#[doc = $about_derived])+ #[serde(skip)] pub $derived: $derived_type,)*)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($($derived: $derived_default,)*)?
                }
            }
        }

        impl $crate::config::Section for $Name {
            const ABOUT: &'static str = concat!($($about, "\n"),+);
            const DOCS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), concat!($($doc, "\n"),+)),)*];
            $(const SECRETS: &'static [&'static str] = &[$(stringify!($secret)),+];)?
        }
    };
}
pub(crate) use settings;

/// One key as the loader and the manual see it.
#[derive(Clone, Debug)]
pub struct Key {
    /// The section's name; empty for the keys at the top.
    pub section: &'static str,
    pub name: &'static str,
    pub doc: &'static str,
    pub default: Value,
    pub secret: bool,
}

impl Key {
    /// `section.name`, or the name alone at the top.
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.section, self.name)
        }
    }

    /// The environment variable that sets this key.
    pub fn variable(&self) -> String {
        format!("ROOKERY_{}", self.path().replace('.', "__").to_uppercase())
    }
}

/// A section with its keys.
#[derive(Clone, Debug)]
pub struct Part {
    pub name: &'static str,
    pub about: &'static str,
    pub keys: Vec<Key>,
}

impl Part {
    /// The schema of a section.
    pub fn of<S: Section>(name: &'static str) -> Self {
        let defaults = Value::try_from(S::default()).expect("a section's defaults are plain TOML values");
        let key = |&(key, doc): &(&'static str, &'static str)| Key {
            section: name,
            name: key,
            doc,
            default: defaults
                .get(key)
                .expect("every documented key is a field that is always written")
                .clone(),
            secret: S::SECRETS.contains(&key),
        };
        Self {
            name,
            about: S::ABOUT,
            keys: S::DOCS.iter().map(key).collect(),
        }
    }
}

/// For a key that may be left to somebody else's choice: an empty text, or 0, means that nothing was chosen.
pub mod optional {
    use serde::de::DeserializeOwned;
    use serde::{Deserializer, Serialize, Serializer};

    /// A type with a value that stands for "not given".
    pub trait Blank: Default + PartialEq {}
    impl Blank for String {}
    impl Blank for usize {}
    impl Blank for u32 {}

    pub fn serialize<T, S>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Blank + Serialize,
        S: Serializer,
    {
        value.as_ref().unwrap_or(&T::default()).serialize(serializer)
    }

    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: Blank + DeserializeOwned,
        D: Deserializer<'de>,
    {
        let value = T::deserialize(deserializer)?;
        Ok((value != T::default()).then_some(value))
    }
}
