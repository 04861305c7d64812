//! A picture of the cluster: read from the API server, or from a file that `kubectl get -o yaml` has written.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    core::v1::{Namespace, Node},
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    api::{API_VERSION, CapacityPool, WorkflowRun},
    cli::files,
    core::prospect::Picture,
    render::WORKFLOW_LABEL,
};

/// So many objects of a list are read at a time.
const PAGE: u32 = 500;

/// Where the picture comes from.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// File with what `kubectl get mpool,mpol,mwf,mrun,namespaces,controllerrevisions,nodes --all-namespaces -o yaml` has written;
    /// the cluster of the kubeconfig when not set.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
}

impl Source {
    /// Reads it. Nothing is written.
    ///
    /// # Errors
    /// When the file or the cluster cannot be read.
    pub fn picture(&self) -> anyhow::Result<Picture> {
        match &self.snapshot {
            Some(file) => read(file),
            None => {
                // the same provider may have been set before
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(live())
            }
        }
    }
}

async fn live() -> anyhow::Result<Picture> {
    let client =
        Client::try_default().await.context("there is no cluster to look at: set KUBECONFIG, or give --snapshot")?;
    let pools: Vec<CapacityPool> = all(&client, ListParams::default()).await?;
    // whoever may not see nodes can still look at pools that have nothing of them
    let nodes = if pools.iter().any(|p| p.spec.nodes.is_some()) {
        all::<Node>(&client, ListParams::default()).await?
    } else {
        Vec::new()
    };
    Ok(Picture {
        pools,
        nodes,
        policies: all(&client, ListParams::default()).await?,
        namespaces: all(&client, ListParams::default()).await?,
        workflows: all(&client, ListParams::default()).await?,
        revisions: all::<ControllerRevision>(&client, ListParams::default().labels(WORKFLOW_LABEL)).await?,
        runs: all::<WorkflowRun>(&client, ListParams::default()).await?,
    })
}

async fn all<K>(client: &Client, params: ListParams) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let (mut found, mut params) = (Vec::new(), params.limit(PAGE));
    loop {
        let page = api.list(&params).await.with_context(|| format!("cannot list {}", K::plural(&())))?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// What a file holds of these kinds, in lists or one by one.
///
/// # Errors
/// When it cannot be read, or one of medley's objects in it is not valid.
pub fn read(file: &Path) -> anyhow::Result<Picture> {
    let place = file.display();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&files::text(file)?)
        .with_context(|| format!("{place} is no YAML: `medley lint {place}` says where and what"))?;
    let mut picture = Picture::default();
    for mut document in documents {
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => {
                for item in items {
                    take_in(&mut picture, item).with_context(|| format!("{place}"))?;
                }
            }
            _ => take_in(&mut picture, document).with_context(|| format!("{place}"))?,
        }
    }
    Ok(picture)
}

fn take_in(picture: &mut Picture, object: Value) -> anyhow::Result<()> {
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match (version.as_str(), kind.as_str()) {
        (API_VERSION, "CapacityPool") => picture.pools.push(parse(object, &kind, &name)?),
        (API_VERSION, "ServicePolicy") => picture.policies.push(parse(object, &kind, &name)?),
        (API_VERSION, "Workflow") => picture.workflows.push(parse(object, &kind, &name)?),
        (API_VERSION, "WorkflowRun") => picture.runs.push(parse(object, &kind, &name)?),
        ("v1", "Node") => picture.nodes.push(parse(object, &kind, &name)?),
        ("v1", "Namespace") => picture.namespaces.push(parse::<Namespace>(object, &kind, &name)?),
        ("apps/v1", "ControllerRevision") => picture.revisions.push(parse(object, &kind, &name)?),
        (API_VERSION, "MedicalService" | "ServiceQuery") => {}
        (API_VERSION, other) => bail!("there is no kind `{other}` of {API_VERSION}"),
        _ => {}
    }
    Ok(())
}

fn parse<K: DeserializeOwned>(object: Value, kind: &str, name: &str) -> anyhow::Result<K> {
    serde_json::from_value(object)
        .with_context(|| format!("the {kind} `{name}` is not valid: `medley lint` says where"))
}
