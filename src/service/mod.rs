//! What agents call: HubSpot and any JSON API over HTTP.
