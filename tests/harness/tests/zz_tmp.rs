use harness::simulated::ApiServer;
#[tokio::test(start_paused = true)]
async fn build_cost() {
    let mut crds = vec![];
    for f in std::fs::read_dir("/work/main/crds").unwrap() {
        let t = std::fs::read_to_string(f.unwrap().path()).unwrap();
        crds.push(serde_saphyr::from_str::<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(&t).unwrap());
    }
    let b = std::time::Instant::now();
    for _ in 0..10 { let s = ApiServer::builder().crds(crds.clone()).build(); std::hint::black_box(s.resource_version()); }
    println!("build with {} crds: {:?}", crds.len(), b.elapsed()/10);
    let b = std::time::Instant::now();
    for _ in 0..10 { let s = ApiServer::builder().build(); std::hint::black_box(s.resource_version()); }
    println!("build empty: {:?}", b.elapsed()/10);
}
