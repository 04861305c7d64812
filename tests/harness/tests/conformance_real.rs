//! The conformance cases on a real control plane: what holds the simulated server's model of it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, outside any #[test] function

use futures::StreamExt;
use harness::conformance::{self, Lab};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::ObjectMeta,
};

/// Cases that run at the same time.
const PARALLEL: usize = 8;

async fn client() -> Client {
    let path = std::env::var("KUBECONFIG").expect("KUBECONFIG names the kubeconfig of the control plane to test");
    let kubeconfig = Kubeconfig::read_from(&path).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // A refusal is what the cases want to see, not what a retry made of it.
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

#[tokio::test]
#[ignore = "needs a real control plane: make test-cluster"]
async fn the_real_server_conforms() {
    let client = client().await;
    conformance::install(&client).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let cases = conformance::cases();
    let total = cases.len();
    let outcomes = futures::stream::iter(cases).map(|case| {
        let (client, namespaces) = (client.clone(), namespaces.clone());
        async move {
            let meta = ObjectMeta { generate_name: Some("conformance-".to_owned()), ..ObjectMeta::default() };
            let made = namespaces
                .create(&PostParams::default(), &Namespace { metadata: meta, ..Namespace::default() })
                .await
                .unwrap();
            let namespace = made.metadata.name.unwrap();
            let outcome = (case.run)(Lab { client, namespace: namespace.clone() }).await;
            namespaces.delete(&namespace, &DeleteParams::background()).await.unwrap();
            outcome.err().map(|error| format!("{}: {error:#}", case.name))
        }
    });
    let failures: Vec<String> =
        outcomes.buffer_unordered(PARALLEL).filter_map(|failure| async { failure }).collect().await;
    conformance::uninstall(&client).await.unwrap();
    assert!(failures.is_empty(), "{} of {total} cases fail:\n{}", failures.len(), failures.join("\n"));
}
