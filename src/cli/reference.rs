//! A CRD as a page for people: every field with its type, limits and meaning, and every rule that the API server holds.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};

/// The page of one kind, in Markdown.
#[must_use]
pub fn markdown(crd: &CustomResourceDefinition) -> String {
    let names = &crd.spec.names;
    let mut page = format!("<!-- Made by `medley crds --docs`; change src/api/ instead. -->\n# {}\n", names.kind);
    for version in &crd.spec.versions {
        let Some(schema) = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref()) else { continue };
        paragraph(&mut page, schema.description.as_deref().unwrap_or_default());
        paragraph(&mut page, &identity(crd, version));
        columns(&mut page, version);
        let mut rules = Vec::new();
        collect_rules("", schema, &mut rules);
        for part in ["spec", "status"] {
            let Some(top) = schema.properties.as_ref().and_then(|p| p.get(part)) else { continue };
            paragraph(&mut page, &format!("## {part}"));
            paragraph(&mut page, top.description.as_deref().unwrap_or_default());
            page.push_str("\n| Field | Type | Required | Limits | Meaning |\n|---|---|---|---|---|\n");
            fields(&mut page, part, top);
        }
        paragraph(&mut page, "## Rules");
        paragraph(
            &mut page,
            "The API server refuses an object or a change that breaks one of these. A rule with `oldSelf` is about changes.",
        );
        for (path, rule) in &rules {
            let place = format!("{path}{}", rule.field_path.as_deref().unwrap_or_default());
            let place = place.trim_start_matches('.');
            let place = if place.is_empty() { "the object".to_owned() } else { format!("`{place}`") };
            paragraph(&mut page, &format!("- {place}: {}", rule.message.as_deref().unwrap_or_default()));
            let _ = writeln!(page, "\n  ```cel\n  {}\n  ```", rule.rule);
        }
    }
    page
}

fn paragraph(page: &mut String, text: &str) {
    page.push('\n');
    page.push_str(text);
    page.push('\n');
}

fn identity(crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> String {
    let names = &crd.spec.names;
    let quoted =
        |list: &Option<Vec<String>>| list.iter().flatten().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    format!(
        "`apiVersion: {}/{}`, `kind: {}`. For kubectl: `{}`, short {}, in the category {}. Scope: {}.",
        crd.spec.group,
        version.name,
        names.kind,
        names.plural,
        quoted(&names.short_names),
        quoted(&names.categories),
        crd.spec.scope
    )
}

fn columns(page: &mut String, version: &CustomResourceDefinitionVersion) {
    let Some(columns) = &version.additional_printer_columns else { return };
    page.push_str("\n| Column of `kubectl get` | From |\n|---|---|\n");
    for column in columns {
        let wide = if column.priority.unwrap_or(0) > 0 { " (with `-o wide`)" } else { "" };
        let _ = writeln!(page, "| {}{wide} | `{}` |", column.name, cell(&column.json_path));
    }
}

/// One row for each field below `schema`, parents before children.
fn fields(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    for (name, field) in schema.properties.iter().flatten() {
        let required = schema.required.iter().flatten().any(|r| r == name);
        let path = format!("{path}.{name}");
        let _ = writeln!(
            page,
            "| `{path}` | {} | {} | {} | {} |",
            type_of(field),
            if required { "yes" } else { "" },
            cell(&limits(field).join("; ")),
            cell(field.description.as_deref().unwrap_or_default()),
        );
        match inner(field) {
            Some((mark, values)) => fields(page, &format!("{path}{mark}"), values),
            None => fields(page, &path, field),
        }
    }
}

/// What a list or a map holds, and how a path goes on from it.
fn inner(schema: &JSONSchemaProps) -> Option<(&'static str, &JSONSchemaProps)> {
    match (&schema.items, &schema.additional_properties) {
        (Some(JSONSchemaPropsOrArray::Schema(items)), _) => Some(("[]", items)),
        (_, Some(JSONSchemaPropsOrBool::Schema(values))) => Some((".*", values)),
        _ => None,
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    let name = schema.type_.as_deref().unwrap_or("any JSON");
    match (name, inner(schema)) {
        ("array", Some((_, items))) => format!("list of {}", type_of(items)),
        ("object", Some((_, values))) => format!("map of {}", type_of(values)),
        ("string", _) if schema.format.as_deref() == Some("date-time") => "time (RFC 3339)".to_owned(),
        _ => name.to_owned(),
    }
}

fn limits(schema: &JSONSchemaProps) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(values) = &schema.enum_ {
        let words: Vec<_> = values.iter().filter_map(|v| v.0.as_str()).map(|v| format!("`{v}`")).collect();
        all.push(format!("one of {}", words.join(", ")));
    }
    all.extend(range(schema.minimum, schema.maximum, ""));
    all.extend(range(schema.min_length, schema.max_length, "characters"));
    all.extend(range(schema.min_items, schema.max_items, "entries"));
    all.extend(range(schema.min_properties, schema.max_properties, "entries"));
    if let Some(pattern) = &schema.pattern {
        all.push(format!("`{pattern}`"));
    }
    match schema.x_kubernetes_list_type.as_deref() {
        Some("map") => all.push(format!(
            "unique by {}",
            schema.x_kubernetes_list_map_keys.iter().flatten().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
        )),
        Some("set") => all.push("no entry twice".to_owned()),
        _ => {}
    }
    if let Some((_, values)) = inner(schema).filter(|(_, v)| v.properties.is_none()) {
        let each = limits(values);
        if !each.is_empty() {
            all.push(format!("each: {}", each.join("; ")));
        }
    }
    all
}

fn range<N: ToString>(min: Option<N>, max: Option<N>, unit: &str) -> Option<String> {
    let text = match (min, max) {
        (Some(min), Some(max)) => format!("{} to {} {unit}", min.to_string(), max.to_string()),
        (Some(min), None) => format!("at least {} {unit}", min.to_string()),
        (None, Some(max)) => format!("at most {} {unit}", max.to_string()),
        (None, None) => return None,
    };
    Some(text.trim_end().to_owned())
}

/// All rules, each with the path of the place it stands at.
fn collect_rules<'a>(path: &str, schema: &'a JSONSchemaProps, rules: &mut Vec<(String, &'a ValidationRule)>) {
    rules.extend(schema.x_kubernetes_validations.iter().flatten().map(|rule| (path.to_owned(), rule)));
    for (name, field) in schema.properties.iter().flatten() {
        collect_rules(&format!("{path}.{name}"), field, rules);
    }
    if let Some((mark, values)) = inner(schema) {
        collect_rules(&format!("{path}{mark}"), values, rules);
    }
}

/// Text in one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
