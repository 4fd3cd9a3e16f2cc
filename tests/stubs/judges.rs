//! The vendors' own clients find our stubs to be HubSpot and Salesforce.

use std::time::Duration;

use headwater::dev::{
    crm::{Crm, CrmOptions},
    salesforce::{Salesforce, SalesforceOptions},
    salesforce_login::Login,
    salesforce_record::record_id,
};

use crate::{node, python};

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

const HUBSPOT_FOR_NODE: &str = r#"
const { Client } = require("@hubspot/api-client");
const read = (token, ids, more) => {
  const client = new Client({ accessToken: token, basePath: process.argv[1], numberOfApiCallRetries: 0 });
  const inputs = ids.map((id) => ({ id }));
  const ask = { inputs, properties: ["segment", "email"], propertiesWithHistory: [], ...more };
  return client.crm.contacts.batchApi.read(ask);
};
(async () => {
  const whole = await read("demo", ["u_0001", "u_0002"]);
  console.log(whole.status, whole.results.length, whole.results[0].createdAt instanceof Date);
  const part = await read("demo", ["u_0001", "u_9999"]);
  console.log(part.results.length, part.numErrors, part.errors[0].category, part.errors[0].context.ids);
  const mail = await read("demo", [whole.results[1].properties.email], { idProperty: "email" });
  console.log(mail.results[0].id);
  await read("wrong", ["u_0001"]).catch((error) => console.log(error.code, error.body.category));
})();
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubspot_s_own_client_for_node_reads_the_stub_s_answers() {
    let instead = "our reading of HubSpot's documentation was checked";
    let Some(library) = node::library("@hubspot/api-client", "13.5", instead) else { return };
    let options = CrmOptions { latency: Duration::ZERO, ..CrmOptions::default() };
    let crm = Crm::start(None, options).await.unwrap();
    let url = crm.url();
    let said = tokio::task::spawn_blocking(move || node::run(&library, HUBSPOT_FOR_NODE, &[&url])).await.unwrap();
    assert_eq!(said, "COMPLETE 2 true\n1 1 OBJECT_NOT_FOUND [ 'u_9999' ]\n100003\n401 INVALID_AUTHENTICATION");
}

const JSFORCE: &str = r#"
const crypto = require("crypto");
const fs = require("fs");
const { Connection } = require("jsforce");
const [url, one, none, key] = process.argv.slice(1);
const connection = (clientSecret) =>
  new Connection({ version: "62.0", loginUrl: url, oauth2: { clientId: "demo", clientSecret, loginUrl: url } });
const fields = ["Id", "Email", "Segment__c"];
(async () => {
  const mine = connection("demo");
  await mine.authorize({ grant_type: "client_credentials" });
  console.log(mine.instanceUrl === url);
  const [record, nobody] = await mine.sobject("Contact").retrieve([one, none], { fields });
  console.log(record.attributes.type, record.Id === one, nobody);
  const found = await mine.query(`SELECT Id, Account.Name FROM Contact WHERE Email IN ('${record.Email}', 'o\\'hara')`);
  console.log(found.totalSize, found.done, found.records[0].Id === one, typeof found.records[0].Account.Name);
  const many = await mine.query("SELECT Id FROM Contact WHERE MailingCountry = 'SE'", { autoFetch: true, maxFetch: 10000 });
  console.log(many.records.length > 50, many.totalSize === many.records.length);
  console.log(mine.limitInfo.apiUsage.limit, mine.limitInfo.apiUsage.used > 3);
  const complaint = (error) => console.log(error.errorCode ?? error.name);
  await mine.query("SELECT Nonsense__c FROM Contact WHERE Email = 'x'").catch(complaint);
  await mine.query("SELECT Id FROM Contact WHERE").catch(complaint);
  await mine.sobject("Nonsense__c").retrieve([one, none], { fields }).catch(complaint);
  const other = new Connection({ version: "62.0", instanceUrl: url, accessToken: "old" });
  await other.query("SELECT Id FROM Contact WHERE Email = 'x'").catch(complaint);
  await connection("wrong").authorize({ grant_type: "client_credentials" }).catch(complaint);
  const part = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const claims = { iss: "demo", sub: "integration@acme.example", aud: "https://login.salesforce.com",
    exp: Math.floor(Date.now() / 1000) + 120 };
  const signed = `${part({ alg: "RS256" })}.${part(claims)}`;
  const signature = crypto.createSign("RSA-SHA256").update(signed).sign(fs.readFileSync(key), "base64url");
  const jwt = connection(undefined);
  await jwt.authorize({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: `${signed}.${signature}` });
  console.log(typeof jwt.accessToken);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jsforce_finds_the_stub_to_be_salesforce() {
    let instead = "our reading of Salesforce's documentation was checked";
    let Some(library) = node::library("jsforce", "3.10", instead) else { return };
    let login =
        Login { public_key: Some(include_str!("../fixtures/rfc7515-a2.pub.pem").to_owned()), ..Login::default() };
    let options = SalesforceOptions { login, latency: Duration::ZERO, page: 50, ..SalesforceOptions::default() };
    let org = Salesforce::start(None, options).await.unwrap();
    let (url, one, none) = (org.url(), record_id(42), record_id(9_999));
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rfc7515-a2.pem");
    let judge = move || node::run(&library, JSFORCE, &[&url, &one, &none, key]);
    let said = tokio::task::spawn_blocking(judge).await.unwrap();
    assert_eq!(
        said,
        "true\nContact true null\n1 true true string\ntrue true\n100000 true\nINVALID_FIELD\nMALFORMED_QUERY\nNOT_FOUND\n\
         INVALID_SESSION_ID\ninvalid_client\nstring"
    );
}
