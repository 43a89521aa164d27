//! How a person names a part of a page: by what it is and what it says, as the browser tells it to a screen reader.
//! What nobody sees is not found.

use serde_json::Value;

/// A part of a page.
#[derive(Debug)]
pub(crate) enum What {
    /// By role and accessible name.
    Said { roles: &'static [&'static str], name: String, rule: Rule },
    /// By a selector, for what has no words of its own: of those that contain `text`, the `nth`.
    Css { selector: String, text: String, nth: usize },
}

/// How a name is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rule {
    Is,
    Begins,
    Contains,
}

/// `Retry`; a last `*` stands for anything.
pub(crate) fn button(name: &str) -> What {
    said(&["button", "ToggleButton"], name)
}

pub(crate) fn link(name: &str) -> What {
    said(&["link"], name)
}

/// What opens and closes a part of the page.
pub(crate) fn summary(name: &str) -> What {
    said(&["DisclosureTriangle", "DisclosureTriangleGrouped"], name)
}

/// Whatever takes input, by how its label begins.
pub(crate) fn field(label: &str) -> What {
    let roles = &["textbox", "searchbox", "spinbutton", "combobox", "checkbox", "DateTime"];
    What::Said { roles, name: label.to_owned(), rule: Rule::Begins }
}

pub(crate) fn heading(part: &str) -> What {
    What::Said { roles: &["heading"], name: part.to_owned(), rule: Rule::Contains }
}

/// A text that contains this.
pub(crate) fn text(part: &str) -> What {
    What::Said { roles: &["StaticText"], name: part.to_owned(), rule: Rule::Contains }
}

/// A text that is just this.
pub(crate) fn words(all: &str) -> What {
    said(&["StaticText"], all)
}

pub(crate) fn css(selector: &str) -> What {
    css_with(selector, "", 0)
}

pub(crate) fn css_with(selector: &str, text: &str, nth: usize) -> What {
    What::Css { selector: selector.to_owned(), text: text.to_owned(), nth }
}

fn said(roles: &'static [&'static str], name: &str) -> What {
    let (name, rule) = name.strip_suffix('*').map_or((name, Rule::Is), |name| (name, Rule::Begins));
    What::Said { roles, name: name.to_owned(), rule }
}

/// The first node of that role and name in a tree of `Accessibility.getFullAXTree`, in the order of the page.
pub(crate) fn first(tree: &Value, roles: &[&str], name: &str, rule: Rule) -> Option<i64> {
    let nodes: std::collections::HashMap<&str, &Value> =
        tree["nodes"].as_array()?.iter().filter_map(|node| Some((node["nodeId"].as_str()?, node))).collect();
    let mut next = vec![tree["nodes"].get(0)?["nodeId"].as_str()?];
    while let Some(node) = next.pop().and_then(|id| nodes.get(id)) {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let said = node["name"]["value"].as_str().unwrap_or_default().trim();
        let fits = match rule {
            Rule::Is => said == name,
            Rule::Begins => said.starts_with(name),
            Rule::Contains => said.contains(name),
        };
        if fits && node["ignored"] == false && roles.contains(&role) {
            return node["backendDOMNodeId"].as_i64();
        }
        next.extend(node["childIds"].as_array()?.iter().rev().filter_map(Value::as_str));
    }
    None
}
