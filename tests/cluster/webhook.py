"""A mutating webhook as a mesh's: the API server asks it for each pod with the label, and it adds the sidecar."""

import base64
import json
import ssl
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cluster import INJECT, PROXY, kubectl


def certificate(folder, *names):
    """Makes a certificate for these names, to be trusted as it is, and returns its path and that of its key."""
    paths = f"{folder}/certificate.pem", f"{folder}/key.pem"
    subject = ["-subj", f"/CN={names[0].partition(':')[2]}", "-addext", f"subjectAltName={','.join(names)}"]
    subject += ["-addext", "basicConstraints=critical,CA:FALSE"]
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(["openssl", "req", *options, *subject], check=True, capture_output=True)
    return paths


def serve(handler, address, *names):
    """Serves HTTPS in a thread, and returns the server and the certificate."""
    folder = tempfile.mkdtemp()
    chain, key = certificate(folder, *names)
    server = ThreadingHTTPServer(address, handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(chain, encoding="ascii") as file:
        return server, file.read()


class Injector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = json.dumps([{"op": "add", "path": "/spec/containers/-", "value": PROXY}]).encode()
        review["response"] = {"uid": review.pop("request")["uid"], "allowed": True, "patchType": "JSONPatch"}
        review["response"]["patch"] = base64.b64encode(patch).decode()
        answer = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def start():
    server, authority = serve(Injector, ("127.0.0.1", 0), "IP:127.0.0.1")
    webhook = {
        "name": "injector.wrapper.example",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_port}/",
            "caBundle": base64.b64encode(authority.encode()).decode(),
        },
        "objectSelector": {"matchLabels": {INJECT: "true"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "injector.wrapper.example"},
        "webhooks": [webhook],
    }
    kubectl("apply", "--filename=-", input=json.dumps(configuration))
