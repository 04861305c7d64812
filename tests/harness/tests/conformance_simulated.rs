//! The conformance cases on the simulated server, each on a fresh one, under paused time.

use harness::{
    conformance::{self, Lab},
    simulated::ApiServer,
};

#[tokio::test(start_paused = true)]
async fn the_simulated_server_conforms() {
    let mut failures = Vec::new();
    let cases = conformance::cases();
    for case in &cases {
        let client = ApiServer::builder().build().client();
        conformance::install(&client).await.unwrap();
        if let Err(error) = (case.run)(Lab { client, namespace: "conformance".to_owned() }).await {
            failures.push(format!("{}: {error:#}", case.name));
        }
    }
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
