//! The fields of a body, a row each, from the schemas of the API document.

use serde_json::Value;

/// Schemas within schemas are followed so far.
const DEPTH: usize = 3;

/// A field of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Where it is: `tasks[].code_name`.
    pub(super) path: String,
    /// What it is: `string`, `list of TaskRequest`.
    pub(super) kind: String,
    /// What it means.
    pub(super) about: String,
}

/// Every field of the schema `name`, those within others after them.
pub(super) fn fields(schemas: &Value, name: &str) -> Vec<Field> {
    let mut rows = Vec::new();
    collect(schemas, &schemas[name], "", DEPTH, &mut rows);
    rows
}

fn collect(schemas: &Value, schema: &Value, prefix: &str, depth: usize, rows: &mut Vec<Field>) {
    if let Some(name) = reference(schema) {
        return collect(schemas, &schemas[name], prefix, depth, rows);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        collect(schemas, part, prefix, depth, rows);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let about = field["description"].as_str().unwrap_or_default().to_owned();
        rows.push(Field { path: path.clone(), kind: kind(field), about });
        if depth > 0 {
            let (inner, dots) = match &field["items"] {
                Value::Null => (field, "."),
                items => (items, "[]."),
            };
            if reference(inner).is_some() {
                collect(schemas, inner, &format!("{path}{dots}"), depth - 1, rows);
            }
        }
    }
}

fn kind(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return name.to_owned();
    }
    let named = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match (named, &schema["items"]) {
        (Some("array"), items) => format!("list of {}", kind(items)),
        (Some(name), _) => name.to_owned(),
        (None, _) => "anything".to_owned(),
    }
}

/// The schema that is named instead of said.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_within_schemas_are_followed_and_an_endless_one_is_not() {
        let list = json!({ "type": ["array", "null"], "items": { "$ref": "#/components/schemas/Node" } });
        let schemas = json!({
            "Tree": { "allOf": [
                { "$ref": "#/components/schemas/Named" },
                { "properties": { "nodes": list } },
            ] },
            "Named": { "properties": { "name": { "type": "string", "description": "What it is called." } } },
            "Node": { "properties": { "next": { "$ref": "#/components/schemas/Node" } } },
        });
        let rows = fields(&schemas, "Tree");
        let rows: Vec<_> = rows.iter().map(|f| format!("{}: {} {}", f.path, f.kind, f.about)).collect();
        assert_eq!(
            rows,
            [
                "name: string What it is called.",
                "nodes: list of Node ",
                "nodes[].next: Node ",
                "nodes[].next.next: Node ",
                "nodes[].next.next.next: Node ",
            ]
        );
    }
}
