// Sends how the command ended to HOOK_JAVASCRIPT_HTTP_URL: a hook for the world of wit/hook.wit.

import { getCommand, getOutcome } from "wrapper:hook/context@0.1.0";
import { log } from "wrapper:hook/logging@0.1.0";
import { getEnvironment } from "wasi:cli/environment@0.2.12";
import { Fields, OutgoingBody, OutgoingRequest } from "wasi:http/types@0.2.12";
import { handle } from "wasi:http/outgoing-handler@0.2.12";

export const run = {
  run() {
    const url = new Map(getEnvironment()).get("HOOK_JAVASCRIPT_HTTP_URL");
    if (!url) throw { tag: "misconfigured", val: "HOOK_JAVASCRIPT_HTTP_URL is not set" };
    const { tag, val } = getOutcome();
    let status;
    try {
      status = post(url, JSON.stringify({ command: getCommand(), outcome: tag, value: val }));
    } catch (error) {
      // An error of these interfaces has a tag.
      throw { tag: "failed", val: `"${url}": ${error.tag ?? error}` };
    }
    if (status < 200 || status > 299) throw { tag: "failed", val: `"${url}": answered ${status}` };
    log("info", `sent ${tag}`);
  },
};

// Sends a request and returns the status of the response.
function post(url, text) {
  const [, scheme, authority, path] = /^(https?):\/\/([^\/?]+)(.*)$/i.exec(url) ?? [];
  if (!scheme) throw "not a URL";
  // There is no TextEncoder. encodeURIComponent writes each byte of UTF-8 that is not ASCII as %XX.
  const bytes = encodeURIComponent(text).match(/%..|./g).map((c) => c[1] ? parseInt(c.slice(1), 16) : c.charCodeAt());
  // Without a length the body is sent in chunks.
  const length = Array.from(`${bytes.length}`, (digit) => digit.charCodeAt());
  const request = new OutgoingRequest(Fields.fromList([["Content-Length", length]]));
  request.setMethod({ tag: "post" });
  request.setScheme({ tag: scheme.toLowerCase() === "https" ? "HTTPS" : "HTTP" });
  request.setAuthority(authority);
  request.setPathWithQuery(path || "/");
  const body = request.body();
  const future = handle(request, undefined);
  const stream = body.write();
  // At most 4096 bytes at a time.
  for (let i = 0; i < bytes.length; i += 4096) stream.blockingWriteAndFlush(bytes.slice(i, i + 4096));
  stream[Symbol.dispose]();
  OutgoingBody.finish(body, undefined);
  future.subscribe().block();
  // Two results, one in the other: of the future, which can be read once, and of the request.
  const result = future.get().val;
  if (result.tag === "err") throw result.val;
  return result.val.status();
}
