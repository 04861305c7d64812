//! Are the generated files what the types say, and are the definitions fit for people and for the API server's cost limit?

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use medley::{
    api::schema::crds,
    cli::{
        crds::{file_name, yaml},
        reference::markdown,
    },
};

/// Compares a folder's files with what they must be; `command` makes them anew.
fn assert_folder(folder: &str, extension: &str, command: &str, text: impl Fn(&CustomResourceDefinition) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut expected: Vec<_> = crds().iter().map(|crd| file_name(crd, extension)).collect();
    expected.sort();
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}; run `{command}`", folder.display()));
    let mut present: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(&format!(".{extension}")))
        .collect();
    present.sort();
    assert_eq!(present, expected, "files of {}; run `{command}` and remove what is too much", folder.display());
    for crd in crds() {
        let file = folder.join(file_name(&crd, extension));
        let stored = std::fs::read_to_string(&file).unwrap();
        assert!(stored == text(&crd), "{} is not what the types say: run `{command}`", file.display());
    }
}

#[test]
fn definitions_are_current() {
    assert_folder("crds", "yaml", "cargo run -- crds --out crds", |crd| yaml(crd).unwrap());
}

#[test]
fn the_charts_copies_are_current() {
    assert_folder("charts/medley-crds/files", "yaml", "cargo run -- crds --out charts/medley-crds/files", |crd| {
        yaml(crd).unwrap()
    });
}

#[test]
fn the_reference_is_current() {
    assert_folder("docs/reference", "md", "cargo run -- crds --docs docs/reference", markdown);
}

/// Calls `look` with every place of every kind's spec and status, and its path.
fn every_place(look: &mut impl FnMut(&str, &JSONSchemaProps)) {
    fn walk(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
        look(path, schema);
        for (name, field) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), field, look);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(&format!("{path}[]"), items, look);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
            walk(&format!("{path}.*"), values, look);
        }
    }
    for crd in crds() {
        for version in &crd.spec.versions {
            walk(&crd.spec.names.kind, version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap(), look);
        }
    }
}

#[test]
fn every_field_has_a_meaning() {
    every_place(&mut |path, schema| {
        let is_field = !path.ends_with("[]") && !path.ends_with(".*");
        assert!(!is_field || schema.description.as_ref().is_some_and(|d| !d.is_empty()), "{path} has no description");
    });
}

#[test]
fn everything_is_bounded() {
    every_place(&mut |path, schema| {
        let free = matches!(schema.format.as_deref(), Some("date-time")) || schema.enum_.is_some();
        match schema.type_.as_deref() {
            Some("string") => assert!(free || schema.max_length.is_some(), "{path} has no maxLength"),
            Some("array") => assert!(
                schema.max_items.is_some() && schema.x_kubernetes_list_type.is_some(),
                "{path} needs maxItems and a list type"
            ),
            Some("object") if schema.additional_properties.is_some() => {
                assert!(schema.max_properties.is_some(), "{path} has no maxProperties")
            }
            _ => {}
        }
        assert!(schema.default.is_none(), "{path} has a default: the server would write it into what GitOps applied");
    });
}

#[test]
fn every_rule_says_what_to_do_and_is_tried() {
    let tables = [
        include_str!("schema/medicalservices.yaml"),
        include_str!("schema/workflows.yaml"),
        include_str!("schema/workflowruns.yaml"),
        include_str!("schema/capacitypools.yaml"),
        include_str!("schema/servicepolicies.yaml"),
        include_str!("schema/servicequeries.yaml"),
    ]
    .concat()
    .replace("\\\"", "\"");
    let mut rules = 0;
    every_place(&mut |path, schema| {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            rules += 1;
            let message = rule.message.as_deref().unwrap_or_default();
            assert!(
                tables.contains(message),
                "{path}: no case in tests/schema/ breaks the rule with the message: {message}"
            );
            assert!(message.len() >= 25, "{path}: the message of `{}` says too little: {message}", rule.rule);
        }
    });
    assert!(rules > 30, "only {rules} rules were seen");
}
