//! HubSpot's own client for Python finds our stub to be HubSpot.

use std::time::Duration;

use headwater::dev::crm::{Crm, CrmOptions};

use crate::python;

const JUDGE: &str = r#"
import sys
from hubspot.crm.contacts import (
    ApiClient, ApiException, BatchApi, BatchReadInputSimplePublicObjectId, Configuration, SimplePublicObjectId)
def read(token, ids, **more):
    configuration = Configuration(host=sys.argv[1])
    configuration.access_token = token
    api = BatchApi(ApiClient(configuration))
    inputs = [SimplePublicObjectId(id=i) for i in ids]
    return api.read(BatchReadInputSimplePublicObjectId(
        inputs=inputs, properties=["segment", "email"], properties_with_history=[], **more))
whole = read("demo", ["u_0001", "u_0002"])
print(type(whole).__name__, whole.status, len(whole.results), whole.results[0].created_at.year >= 2024)
part = read("demo", ["u_0001", "u_9999"])
print(type(part).__name__, part.num_errors, part.errors[0].category, part.errors[0].context["ids"])
mail = read("demo", [whole.results[1].properties["email"]], id_property="email")
print(mail.results[0].id)
try:
    read("wrong", ["u_0001"])
except ApiException as error:
    print(error.status)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubspot_s_own_client_reads_the_stub_s_answers() {
    let instead = "our reading of HubSpot's documentation was checked";
    let Some(library) = python::library("hubspot-api-client==12.*", "hubspot", instead) else { return };
    let options = CrmOptions { latency: Duration::ZERO, ..CrmOptions::default() };
    let crm = Crm::start(None, options).await.unwrap();
    let url = crm.url();
    let said = tokio::task::spawn_blocking(move || python::run(&library, JUDGE, &[&url], b"")).await.unwrap();
    assert_eq!(
        said,
        "BatchResponseSimplePublicObject COMPLETE 2 True\n\
         BatchResponseSimplePublicObjectWithErrors 1 OBJECT_NOT_FOUND ['u_9999']\n\
         100003\n401"
    );
    assert_eq!((crm.counts().requests, crm.counts().unauthorized), (4, 1));
}
