//! The sidecars that are known, and how each is asked to quit.

use crate::Sidecar;
use wrapper_hook::{Context, Result, text};

/// pilot-agent stops Envoy at once, without draining: afterwards the pod has no HTTP.
pub const ISTIO: Sidecar = Sidecar {
    name: "istio-proxy",
    prefix: "HOOK_ISTIO_QUIT",
    urls: &["http://localhost:15020/quitquitquit"],
    elsewhere: &["http://localhost:15000/"],
    hint: "pilot-agent accepts POST requests from the pod's own loopback on port 15020, Envoy itself on port 15000",
    header: None,
    misconfigured: None,
};

/// Its admin interface. Ports: Envoy's own examples, Istio, Consul and App Mesh.
pub const ENVOY: Sidecar = Sidecar {
    name: "Envoy",
    prefix: "HOOK_ENVOY_QUIT",
    urls: &[
        "http://localhost:9901/quitquitquit",
        "http://localhost:15000/quitquitquit",
        "http://localhost:19000/quitquitquit",
    ],
    elsewhere: &[],
    hint: "the admin interface, enabled by `admin.address`, accepts POST requests",
    header: None,
    misconfigured: None,
};

/// The proxy answers at once and may drain for another two minutes.
pub const LINKERD: Sidecar = Sidecar {
    name: "linkerd-proxy",
    prefix: "HOOK_LINKERD_SHUTDOWN",
    urls: &["http://localhost:4191/shutdown"],
    elsewhere: &["http://localhost:4143/"],
    hint: "the annotation config.linkerd.io/proxy-admin-shutdown: enabled enables the endpoint",
    header: None,
    misconfigured: None,
};

/// Ports: the default of consul-k8s, and that of consul-dataplane itself.
pub const CONSUL: Sidecar = Sidecar {
    name: "consul-dataplane",
    prefix: "HOOK_CONSUL_SHUTDOWN",
    urls: &["http://localhost:20600/graceful_shutdown", "http://localhost:20300/graceful_shutdown"],
    elsewhere: &[],
    hint: "the annotation consul.hashicorp.com/enable-sidecar-proxy-lifecycle: \"true\" enables the endpoint",
    header: None,
    misconfigured: None,
};

/// The Cloud SQL or AlloyDB Auth Proxy.
pub const CLOUD_SQL: Sidecar = Sidecar {
    name: "cloud-sql-proxy",
    prefix: "HOOK_CLOUDSQL_QUIT",
    urls: &["http://localhost:9091/quitquitquit"],
    elsewhere: &["http://localhost:9090/"],
    hint: "the proxy's option --quitquitquit enables the endpoint",
    header: None,
    misconfigured: None,
};

/// The agent of Vault or OpenBao. Agents with `require_request_header` require the header, because a browser cannot be
/// made to send it.
pub const VAULT: Sidecar = Sidecar {
    name: "vault-agent",
    prefix: "HOOK_VAULT_QUIT",
    urls: &["http://localhost:8200/agent/v1/quit"],
    elsewhere: &["http://localhost:8100/"],
    hint: "the annotation vault.hashicorp.com/agent-enable-quit: \"true\" or `enable_quit = true` enables the endpoint",
    header: Some(("X-Vault-Request", "true")),
    misconfigured: None,
};

/// Calls this with Dapr's sidecar.
///
/// Dapr's injector sets `DAPR_HTTP_PORT` in the job's container. If the API requires a token, the user sets
/// `DAPR_API_TOKEN` there, as Dapr's documentation says. wrapper passes both to these hooks alone.
/// `HOOK_DAPR_SHUTDOWN_URL` and `HOOK_DAPR_SHUTDOWN_TOKEN` override them.
pub fn with_dapr(cx: &Context, then: impl FnOnce(Sidecar) -> Result) -> Result {
    /// The default port; daprd's option `--dapr-http-port` sets another.
    const PORT: &str = "3500";
    const PREFIX: &str = "HOOK_DAPR_SHUTDOWN";

    let token = cx.trimmed(&cx.setting_name_or("TOKEN", PREFIX)).or_else(|| cx.trimmed("DAPR_API_TOKEN"));
    let port = cx.trimmed("DAPR_HTTP_PORT");
    let port = port.as_deref().unwrap_or(PORT);
    let has_own_url = cx.trimmed(&cx.setting_name_or("URL", PREFIX)).is_some();
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let why = (!has_own_url && !is_port).then(|| text!("DAPR_HTTP_PORT=\"{port}\": not a port"));
    let url = text!("http://localhost:{port}/v1.0/shutdown");
    then(Sidecar {
        name: "daprd",
        prefix: PREFIX,
        urls: &[&url],
        elsewhere: &["http://localhost:3501/"],
        hint: "if Dapr's API requires a token, set HOOK_DAPR_SHUTDOWN_TOKEN or DAPR_API_TOKEN",
        header: token.as_deref().map(|token| ("dapr-api-token", token)),
        misconfigured: why.as_deref(),
    })
}
